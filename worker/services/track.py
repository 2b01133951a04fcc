"""Starts tracking payment sessions, and nudges those already tracked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from worker.domain.errors import TrackError, UnknownAccountError
from worker.domain.session import Kind, ShopObjects
from worker.domain.session_addresses import default_session_url
from worker.domain.track_arguments import TrackArguments, check_arguments, leave_out_wrong
from worker.domain.tracking import TrackEffect, TrackRequest
from worker.services.batching import Batcher
from worker.services.errors import UnavailableError, UnstorableTextError
from worker.services.governor import RateGovernor
from worker.services.publisher import Publisher
from worker.services.retrying import MESSAGE_HELD_SECONDS, retry_until
from worker.services.sessions import ClaimLimits, PollTask, Sessions, SessionUrls
from worker.services.tracing import Telemetry

log = structlog.get_logger(__name__)

# How long the first message of a burst waits for more to join its batch; it holds one of the
# worker's 64 threads meanwhile.
LINGER_SECONDS = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a message says beside its arguments.

    `trace_parent` is the shop's span, a valid `traceparent`. `first_poll_at` is when the first
    poll is wanted. `asked_at` is when the message came, if it was refused at first.
    """

    trace_parent: str | None = None
    first_poll_at: datetime | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackEnvironment:
    """What tracking depends on; `now` is this process's time, `monotonic` returns seconds.

    `base_urls` maps each configured account to where its sessions are read, `allowed_origins` to
    where its credentials may go.
    """

    base_urls: Mapping[str, str]
    allowed_origins: Mapping[str, Collection[str]]
    limits: ClaimLimits
    max_lifetime: timedelta
    now: Callable[[], datetime]
    monotonic: Callable[[], float]


class TrackService:
    """Call `stop` before the end."""

    def __init__(
        self,
        sessions: Sessions,
        publisher: Publisher,
        governor: RateGovernor,
        *,
        environment: TrackEnvironment,
        telemetry: Telemetry,
    ) -> None:
        self._max_lifetime = environment.max_lifetime
        self._now = environment.now
        self._sessions = sessions
        self._publisher = publisher
        self._governor = governor
        self._session_urls = documented_urls(environment.base_urls)
        self._allowed_origins = environment.allowed_origins
        self._limits = environment.limits
        self._monotonic = environment.monotonic
        # The messages of a burst share statements, and their first polls share tasks.
        self._batches = Batcher(self._track_batch, linger_seconds=LINGER_SECONDS)
        self._stopping = False
        self._meter = telemetry.meter
        self._tracer = telemetry.tracer

    def stop(self) -> None:
        """Stop waiting for the database: the messages go back to their queue."""
        self._stopping = True

    async def track(
        self,
        arguments: TrackArguments,
        shop_objects: ShopObjects | None = None,
        sent: Sent | None = None,
    ) -> TrackEffect:
        """Track a payment session; its first poll is sent when this returns.

        A wrong `expires_at` or `reference` is left out. `shop_objects`, checked already, are the
        ids of its payment in the shop's systems. `sent` is what the message says besides.

        Raises:
            InvalidArgumentError, ConflictError: naming the field; nothing was stored or sent.
            UnavailableError: the database stayed unavailable.
        """
        sent = sent or Sent()
        request = replace(
            self._checked(arguments),
            shop_objects=shop_objects,
            first_poll_at=sent.first_poll_at,
            asked_at=sent.asked_at,
        )
        with self._tracer.span(
            "payment_session.track", parent=sent.trace_parent, session_id=request.session_id
        ) as span:
            request = replace(request, trace_parent=span.trace_parent)
            try:
                effect = await self._store(request)
            except UnstorableTextError:
                if request.reference is None:
                    raise
                self._leave_out(request.session_id, "reference", "cannot be stored")
                effect = await self._store(replace(request, reference=None))
            if isinstance(effect, TrackError):
                raise effect
            span.note(effect=effect)
        self._meter.tracked(effect)
        log.info("payment_session_tracked", session_id=request.session_id, effect=effect)
        return effect

    def _checked(self, arguments: TrackArguments) -> TrackRequest:
        right, faults = leave_out_wrong(arguments, now=self._now(), max_lifetime=self._max_lifetime)
        request = check_arguments(right, origins=self._allowed_origins)
        for fault in faults:
            self._leave_out(request.session_id, fault.field, fault.problem)
        return request

    def _leave_out(self, session_id: str, field: str, problem: str) -> None:
        self._meter.argument_left_out(field)
        log.warning("argument_left_out", session_id=session_id, field=field, reason=problem)

    async def _store(self, request: TrackRequest) -> TrackEffect | TrackError:
        def on_retry(error: Exception) -> None:
            log.warning("track_retrying", session_id=request.session_id, error=str(error))

        return await retry_until(
            self._monotonic() + MESSAGE_HELD_SECONDS,
            partial(self._batches.add, request),
            monotonic=self._monotonic,
            stopping=lambda: self._stopping,
            on_retry=on_retry,
        )

    async def _track_batch(self, requests: list[TrackRequest]) -> list[TrackEffect | TrackError]:
        tracked = await self._sessions.track(requests, self._session_urls, self._limits)
        sent = await self._send(tracked.polls)
        unsent = {name for poll in tracked.polls for name in poll.session_ids} - sent
        if unsent:
            await self._release(unsent, [poll.lease_id for poll in tracked.polls])
        return tracked.effects

    async def _send(self, polls: list[PollTask]) -> set[str]:
        """Send what the accounts' budgets allow; returns which. Beat claims the others."""
        acquired = [
            replace(poll, session_ids=poll.session_ids[:count])
            for poll in polls
            if (count := await self._governor.acquire(poll.account, len(poll.session_ids)))
        ]
        sent = {name for poll in acquired for name in poll.session_ids}
        try:
            if acquired:
                await self._publisher.send_polls(acquired)
        except UnavailableError as error:
            log.warning("first_polls_not_sent", session_ids=sorted(sent), error=str(error))
            return set()
        return sent

    async def _release(self, session_ids: Collection[str], lease_ids: Collection[UUID]) -> None:
        try:
            await self._sessions.release(session_ids, lease_ids)
        except UnavailableError as error:
            # They are stored, and due when their leases expire.
            log.warning("lease_release_failed", session_ids=sorted(session_ids), error=str(error))


def documented_urls(base_urls: Mapping[str, str]) -> SessionUrls:
    """Return the documented URLs of the configured accounts' sessions.

    The returned function raises InvalidArgumentError for any other account.
    """

    def documented_url(account: str, kind: Kind, session_id: str) -> str:
        base_url = base_urls.get(account)
        if base_url is None:
            raise UnknownAccountError(problem=f"{account} is not configured: name another")
        return default_session_url(base_url, kind, session_id)

    return documented_url
