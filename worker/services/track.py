"""Starts to track payment sessions, and polls those that are tracked already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from uuid import UUID

import structlog

from worker.domain.errors import InvalidArgumentError, TrackError
from worker.domain.session import Kind, ShopObjects
from worker.domain.track_arguments import TrackArguments, check_arguments
from worker.domain.tracking import TrackEffect, TrackRequest, default_session_url
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

# How long the first of a burst waits for others to share its statements. Meanwhile it occupies one
# of the worker's 64 threads.
LINGER_SECONDS = 0.025


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
        # Sessions tracked in a burst share statements, and their first polls share a task.
        self._together = Batcher(self._track_together, linger_seconds=LINGER_SECONDS)
        self._patience = Patience(monotonic)
        self._meter = telemetry.meter
        self._tracer = telemetry.tracer

    def stop(self) -> None:
        """Wait no longer for an unavailable database: the messages go back to their queue."""
        self._patience.stop()

    async def track(
        self,
        arguments: TrackArguments,
        shop_objects: ShopObjects | None = None,
        trace_parent: str | None = None,
    ) -> TrackEffect:
        """Track a payment session; its first poll is sent when this returns.

        `shop_objects`, checked already, are the ids of its payment in the shop's systems.
        `trace_parent` is the shop's span, a valid `traceparent`.

        Raises:
            InvalidArgumentError, ConflictError: naming the field; nothing was stored or sent.
            UnavailableError: the database stayed unavailable.
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
        """Send the polls that the accounts' budgets allow; return which. Beat claims the others."""
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
    """Return a function that returns a session's documented URL.

    It raises InvalidArgumentError for an account that is not configured.
    """

    def documented_url(account: str, kind: Kind, session_id: str) -> str:
        base_url = base_urls.get(account)
        if base_url is None:
            raise InvalidArgumentError("account", f"{account} is not configured: name another")
        return default_session_url(base_url, kind, session_id)

    return documented_url
