"""Polls claimed payment sessions concurrently: load, observe, decide, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import anyio
import structlog

from worker.domain.decision import Decision
from worker.domain.errors import ObservationError
from worker.domain.schedule import PollLimits
from worker.domain.session import Observation
from worker.domain.transitions import decide
from worker.services.errors import UnavailableError
from worker.services.governor import RateGovernor
from worker.services.klarna import Klarna
from worker.services.poll_report import report_poll
from worker.services.relay import RelayService
from worker.services.retrying import retry_until
from worker.services.sessions import LeasedSession, Recorded, Sessions
from worker.services.tracing import Span, Telemetry
from worker.services.unknown_accounts import UnknownAccounts

log = structlog.get_logger(__name__)

# Load and record each have this long; with the HTTP timeout they stay within the lease.
STORAGE_SECONDS = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PollEnvironment:
    """What a poll depends on; `monotonic` returns seconds, `chance` draws from [0, 1)."""

    limits: PollLimits
    lease: timedelta
    monotonic: Callable[[], float]
    chance: Callable[[], float]


class PollService:
    """Call `close` at the end."""

    def __init__(
        self,
        sessions: Sessions,
        klarna: Klarna,
        relay: RelayService,
        governor: RateGovernor,
        *,
        environment: PollEnvironment,
        telemetry: Telemetry,
    ) -> None:
        self._sessions = sessions
        self._klarna = klarna
        self._relay = relay
        self._governor = governor
        self._limits = environment.limits
        self._lease = environment.lease
        self._monotonic = environment.monotonic
        self._chance = environment.chance
        self._meter = telemetry.meter
        self._tracer = telemetry.tracer
        self._held: dict[str, UUID] = {}
        self._unknown_accounts = UnknownAccounts(
            sessions, governor, monotonic=environment.monotonic
        )
        self._stopping = False

    def stop(self) -> None:
        """Start no poll any more; leases of claimed sessions are released."""
        self._stopping = True

    async def close(self) -> None:
        """Release, in one statement, the leases that are still held."""
        self.stop()
        held, self._held = self._held, {}
        if held:
            await self._sessions.release(list(held), list(held.values()))

    async def poll(self, session_ids: Sequence[str], lease_id: UUID) -> None:
        """Poll the sessions still held under `lease_id`; a failure does not affect the others.

        Raises:
            UnavailableError, TimeoutError: they could not be loaded; their leases expire.
        """
        if self._stopping:
            await self._sessions.release(session_ids, [lease_id])
            return
        try:
            batch = await self._load(session_ids, lease_id)
        except (UnavailableError, TimeoutError) as error:
            log.warning("poll_load_failed", count=len(session_ids), error=str(error))
            raise
        if len(batch) < len(session_ids):
            lost = len(session_ids) - len(batch)
            log.debug("leases_lost_before_poll", count=lost)
            self._meter.leases_lost("load", lost)
        known = await self._unknown_accounts.leave(batch)
        # What is left to others is not released at the end: that would make it due at once.
        self._note_held(known)
        async with anyio.create_task_group() as group:
            for leased in known:
                group.start_soon(self._poll_one, leased)

    async def _load(self, session_ids: Sequence[str], lease_id: UUID) -> list[LeasedSession]:
        with anyio.fail_after(STORAGE_SECONDS):
            return await self._sessions.load(session_ids, lease_id, lease=self._lease)

    def _note_held(self, batch: Sequence[LeasedSession]) -> None:
        self._held |= {leased.session.session_id: leased.lease_id for leased in batch}

    async def _poll_one(self, leased: LeasedSession) -> None:
        session_id, held_id = leased.session.session_id, leased.lease_id
        try:
            next_polls = [leased]
            while next_polls:
                held_id = next_polls[0].lease_id
                next_polls = await self._poll_once(next_polls[0])
        except (UnavailableError, TimeoutError) as error:
            # The lease expires and the session is due again: the poll is only late.
            log.warning("poll_dropped", session_id=session_id, error=str(error))
        except Exception:
            # A bug that one session triggers must not affect the others of its task.
            log.exception("poll_crashed", session_id=session_id)
        finally:
            if self._held.get(session_id) == held_id:
                del self._held[session_id]

    async def _poll_once(self, leased: LeasedSession) -> list[LeasedSession]:
        """Poll once; returns the session again if it was nudged meanwhile."""
        session = leased.session
        if self._stopping or leased.account.is_paused(leased.loaded_at):
            await self._sessions.release([session.session_id], [leased.lease_id])
            return []
        with self._tracer.span(
            "payment_session.poll",
            parent=leased.trace_parent,
            session_id=session.session_id,
            account=session.account,
        ) as span:
            return await self._poll_claimed(leased, span)

    async def _poll_claimed(self, leased: LeasedSession, span: Span) -> list[LeasedSession]:
        session = leased.session
        answer, now = await self._observe(leased)
        decision = decide(
            session,
            answer,
            account=leased.account,
            now=now,
            jitter=self._chance(),
            limits=self._limits,
        )
        recorded = await self._record(leased, decision)
        report_poll(self._meter, answer, decision, recorded)
        span.note(finding=decision.finding, correlation_id=answer.correlation_id)
        if recorded is None:
            return []
        if decision.events:
            self._relay.wake(session.session_id)
        return await self._load_nudged(leased) if recorded.nudged else []

    async def _load_nudged(self, leased: LeasedSession) -> list[LeasedSession]:
        """Load a nudged session again if the budget allows; otherwise beat claims it."""
        session = leased.session
        if await self._governor.acquire(session.account, 1):
            batch = await self._load([session.session_id], leased.lease_id)
            self._note_held(batch)
            return batch
        await self._sessions.release([session.session_id], [leased.lease_id])
        return []

    async def _observe(
        self, leased: LeasedSession
    ) -> tuple[Observation | ObservationError, datetime]:
        """Send one request, outside any transaction.

        The time is the database's: that of the load plus the duration of the request.
        """
        account = leased.session.account
        self._meter.request_started(account, lag_seconds=_lag(leased))
        started = self._monotonic()
        answer: Observation | ObservationError
        outcome = "ok"
        try:
            answer = await self._klarna.read(leased.session)
        except ObservationError as error:
            answer, outcome = error, error.label
        seconds = self._monotonic() - started
        self._meter.request_finished(account, outcome, seconds=seconds)
        return answer, leased.loaded_at + timedelta(seconds=seconds)

    async def _record(self, leased: LeasedSession, decision: Decision) -> Recorded | None:
        """Record; retry for as long as the lease may last: the request is already spent."""

        async def record() -> Recorded | None:
            with anyio.fail_after(STORAGE_SECONDS):
                return await self._sessions.record(leased, decision)

        def on_retry(error: Exception) -> None:
            session_id = leased.session.session_id
            log.warning("poll_record_retrying", session_id=session_id, error=str(error))

        return await retry_until(
            self._monotonic() + self._lease.total_seconds(),
            record,
            monotonic=self._monotonic,
            stopping=lambda: self._stopping,
            on_retry=on_retry,
        )


def _lag(leased: LeasedSession) -> float:
    """Seconds since it was due; the time of a pause of its account does not count."""
    due = leased.session.next_poll_at or leased.loaded_at
    paused_until = leased.account.paused_until or due
    return max((leased.loaded_at - max(due, paused_until)).total_seconds(), 0.0)
