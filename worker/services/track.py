"""Starts following payment sessions, and nudges those already followed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog

from worker.domain.errors import InvalidArgumentError, TrackError
from worker.domain.session import Kind, ShopObjects
from worker.domain.tracking import (
    LONGEST_REFERENCE,
    TrackEffect,
    TrackRequest,
    check_session_id,
    check_session_url,
    default_session_url,
)
from worker.services.batching import Batcher
from worker.services.governor import RateGovernor
from worker.services.ports import (
    ClaimLimits,
    PollTask,
    Publisher,
    Sessions,
    SessionUrls,
    UnavailableError,
)
from worker.services.retrying import Patience
from worker.services.tracing import Telemetry

log = structlog.get_logger(__name__)

# How long the first of a burst waits for company, with one of the worker's 64 threads.
LINGER_SECONDS = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackArguments:
    """The arguments of `payment_sessions.track` as they came; nothing in them is trusted."""

    session_id: object = None
    session_url: object = None
    expires_at: object = None
    account: object = None
    kind: object = None
    reference: object = None


class TrackService:
    """`base_urls` maps each configured account to where its sessions are read."""

    def __init__(
        self,
        sessions: Sessions,
        publisher: Publisher,
        governor: RateGovernor,
        *,
        base_urls: Mapping[str, str],
        allowed_origins: Collection[str],
        limits: ClaimLimits,
        monotonic: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self._governor = governor
        self._accounts = frozenset(base_urls)
        self._session_urls = documented_urls(base_urls)
        self._allowed_origins = allowed_origins
        self._limits = limits
        # A burst: what came at once shares statements, and its first polls a task.
        self._together = Batcher(self._track_together, linger_seconds=LINGER_SECONDS)
        self._patience = Patience(monotonic)
        self._meter = telemetry.meter
        self._tracer = telemetry.tracer

    def stop(self) -> None:
        """Wait for an absent database no longer: the messages go back to their queue."""
        self._patience.stop()

    async def track(
        self,
        arguments: TrackArguments,
        shop_objects: ShopObjects | None = None,
        trace_parent: str | None = None,
    ) -> TrackEffect:
        """Follow a payment session; its first poll is on its way when this returns.

        `shop_objects`, checked already, are what sinks that act in the shop's systems call it.
        `trace_parent`, a sound `traceparent`, is the shop's own span.

        Raises:
            InvalidArgumentError, ConflictError: naming the field; nothing was stored or sent.
            UnavailableError: the database stayed away.
        """
        request = replace(
            check_arguments(
                arguments, accounts=self._accounts, allowed_origins=self._allowed_origins
            ),
            shop_objects=shop_objects,
        )
        with self._tracer.span(
            "payment_session.track", parent=trace_parent, session_id=request.session_id
        ) as span:
            effect = await self._patience.until_done(
                partial(self._together.add, replace(request, trace_parent=span.trace_parent)),
                waits="track_retrying",
                session_id=request.session_id,
            )
            if isinstance(effect, TrackError):
                raise effect
            span.note(effect=effect)
        self._meter.tracked(effect)
        log.info("payment_session_tracked", session_id=request.session_id, effect=effect)
        return effect

    async def _track_together(self, requests: list[TrackRequest]) -> list[TrackEffect | TrackError]:
        tracked = await self._sessions.track(requests, self._session_urls, self._limits)
        sent = await self._send(tracked.polls)
        unsent = {name for poll in tracked.polls for name in poll.session_ids} - sent
        if unsent:
            await self._release(unsent, [poll.lease_id for poll in tracked.polls])
        return tracked.effects

    async def _send(self, polls: list[PollTask]) -> set[str]:
        """Send what the accounts' budgets pay for; returns which. Beat claims the others."""
        paid = [
            replace(poll, session_ids=poll.session_ids[:pays])
            for poll in polls
            if (pays := await self._governor.take(poll.account, len(poll.session_ids)))
        ]
        sent = {name for poll in paid for name in poll.session_ids}
        try:
            if paid:
                await self._publisher.send_polls(paid)
        except UnavailableError as error:
            log.warning("first_polls_not_sent", session_ids=sorted(sent), error=str(error))
            return set()
        return sent

    async def _release(self, session_ids: Collection[str], lease_ids: Collection[UUID]) -> None:
        try:
            await self._sessions.release(session_ids, lease_ids)
        except UnavailableError as error:
            # They are stored, and due when their leases have run out.
            log.warning("lease_release_failed", session_ids=sorted(session_ids), error=str(error))


def documented_urls(base_urls: Mapping[str, str]) -> SessionUrls:
    """Return where sessions of the configured accounts are read when the shop did not say.

    What is answered raises InvalidArgumentError for any other account.
    """

    def documented_url(account: str, kind: Kind, session_id: str) -> str:
        base_url = base_urls.get(account)
        if base_url is None:
            raise InvalidArgumentError("account", f"{account} is not configured: name another")
        return default_session_url(base_url, kind, session_id)

    return documented_url


def check_arguments(
    arguments: TrackArguments, *, accounts: Collection[str], allowed_origins: Collection[str]
) -> TrackRequest:
    """Return the arguments checked; `accounts` are the configured ones.

    Raises:
        InvalidArgumentError: naming the first field at fault.
    """
    session_id = check_session_id(arguments.session_id)
    session_url = None
    if arguments.session_url is not None:
        session_url = check_session_url(
            arguments.session_url, session_id=session_id, allowed_origins=allowed_origins
        )
    return TrackRequest(
        session_id=session_id,
        session_url=session_url,
        expires_at=_check_moment(arguments.expires_at),
        account=_check_account(arguments.account, accounts),
        kind=_check_kind(arguments.kind),
        reference=_check_reference(arguments.reference),
    )


def _check_account(value: object, accounts: Collection[str]) -> str | None:
    """The account, known by its lower-cased name; a session that names none is `default`'s."""
    if value is None:
        return None
    name = value.lower() if isinstance(value, str) else None
    if name not in accounts:
        raise InvalidArgumentError("account", "is not configured")
    return name


def _check_kind(value: object) -> Kind | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in set(Kind):
        raise InvalidArgumentError("kind", "must be hpp or kp")
    return Kind(value)


def _check_moment(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, (str, datetime)):
        raise InvalidArgumentError("expires_at", "must be an ISO 8601 time")
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        offset = moment.utcoffset()
    except ValueError:
        raise InvalidArgumentError("expires_at", "must be an ISO 8601 time") from None
    if offset is None:
        raise InvalidArgumentError("expires_at", "must name its time zone, such as a final Z")
    if not 1970 <= moment.year < 2200:  # noqa: PLR2004 - what later arithmetic can bear
        raise InvalidArgumentError("expires_at", "must lie between 1970 and 2200")
    # ISO 8601 knows zones that Postgres does not: fractions of a second off UTC.
    return moment.astimezone(UTC)


def _check_reference(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_REFERENCE:
        raise InvalidArgumentError(
            "reference", f"must be printable text of at most {LONGEST_REFERENCE} characters"
        )
    return value
