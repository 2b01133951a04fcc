"""Polls claimed payment sessions: load, observe, decide, record; each by itself, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import anyio
import structlog

from worker.domain.decision import Decision
from worker.domain.errors import ObservationError
from worker.domain.schedule import PollLimits
from worker.domain.session import Observation
from worker.domain.transitions import decide
from worker.services.governor import RateGovernor
from worker.services.poll_report import report_poll
from worker.services.ports import (
    Klarna,
    LeasedSession,
    Recorded,
    Sessions,
    UnavailableError,
)
from worker.services.relay import RelayService
from worker.services.tracing import Span, Telemetry

log = structlog.get_logger(__name__)

# Load and record each have this long; with the HTTP timeout they stay within the lease.
STORAGE_SECONDS = 12.0
RECORD_AGAIN_SECONDS = 0.5


class PollService:
    """`monotonic` returns seconds, `chance` draws from [0, 1)."""

    def __init__(  # noqa: PLR0913 - eight to work with, and one to tell of it
        self,
        sessions: Sessions,
        klarna: Klarna,
        relay: RelayService,
        governor: RateGovernor,
        *,
        limits: PollLimits,
        lease: timedelta,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._sessions = sessions
        self._klarna = klarna
        self._relay = relay
        self._governor = governor
        self._limits = limits
        self._lease = lease
        self._monotonic = monotonic
        self._chance = chance
        self._meter = telemetry.meter
        self._tracer = telemetry.tracer
        self._held: dict[str, UUID] = {}
        self._stopping = False

    def stop(self) -> None:
        """Poll nothing new from now on: what is claimed is handed back."""
        self._stopping = True

    async def close(self) -> None:
        """Hand back, in one statement, the leases that are still held."""
        self.stop()
        held, self._held = self._held, {}
        if held:
            await self._sessions.release(list(held), list(held.values()))

    async def poll(self, session_ids: Sequence[str], lease_id: UUID) -> None:
        """Poll the sessions still held under `lease_id`; one that fails harms no other.

        Raises:
            UnavailableError, TimeoutError: they could not be loaded; their leases run out.
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
        async with anyio.create_task_group() as group:
            for leased in batch:
                group.start_soon(self._poll_one, leased)

    async def _load(self, session_ids: Sequence[str], lease_id: UUID) -> list[LeasedSession]:
        with anyio.fail_after(STORAGE_SECONDS):
            batch = await self._sessions.load(session_ids, lease_id, lease=self._lease)
        self._held |= {leased.session.session_id: leased.lease_id for leased in batch}
        return batch

    async def _poll_one(self, leased: LeasedSession) -> None:
        session_id, held_id = leased.session.session_id, leased.lease_id
        try:
            again = [leased]
            while again:
                held_id = again[0].lease_id
                again = await self._poll_once(again[0])
        except (UnavailableError, TimeoutError) as error:
            # The lease runs out and the session is due again: nothing is lost but the moment.
            log.warning("poll_dropped", session_id=session_id, error=str(error))
        except Exception:
            # A fault of ours, met by one session: the others of its task must not pay for it.
            log.exception("poll_crashed", session_id=session_id)
        finally:
            if self._held.get(session_id) == held_id:
                del self._held[session_id]

    async def _poll_once(self, leased: LeasedSession) -> list[LeasedSession]:
        """Poll once; returns the session again where a nudge came meanwhile."""
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
        return await self._again(leased) if recorded.nudged else []

    async def _again(self, leased: LeasedSession) -> list[LeasedSession]:
        """Load a nudged session again where the budget pays for it; else beat claims it in turn."""
        session = leased.session
        if await self._governor.take(session.account, 1):
            return await self._load([session.session_id], leased.lease_id)
        await self._sessions.release([session.session_id], [leased.lease_id])
        return []

    async def _observe(
        self, leased: LeasedSession
    ) -> tuple[Observation | ObservationError, datetime]:
        """One request, no transaction open; the time is the database's, carried on from load."""
        account = leased.session.account
        self._meter.asked(account, lag_seconds=_lag(leased))
        started = self._monotonic()
        answer: Observation | ObservationError
        outcome = "ok"
        try:
            answer = await self._klarna.read(leased.session)
        except ObservationError as error:
            answer, outcome = error, error.label
        seconds = self._monotonic() - started
        self._meter.answered(account, outcome, seconds=seconds)
        return answer, leased.loaded_at + timedelta(seconds=seconds)

    async def _record(self, leased: LeasedSession, decision: Decision) -> Recorded | None:
        """Record, and try again as long as the lease may last: the answer is in hand already."""
        patient_until = self._monotonic() + self._lease.total_seconds()
        while True:
            try:
                with anyio.fail_after(STORAGE_SECONDS):
                    return await self._sessions.record(leased, decision)
            except (UnavailableError, TimeoutError) as error:
                if self._stopping or self._monotonic() > patient_until:
                    raise
                log.warning(
                    "poll_record_retrying", session_id=leased.session.session_id, error=str(error)
                )
                await anyio.sleep(RECORD_AGAIN_SECONDS)


def _lag(leased: LeasedSession) -> float:
    """Seconds since it was due; while its account was paused it was not."""
    due = leased.session.next_poll_at or leased.loaded_at
    paused_until = leased.account.paused_until or due
    return max((leased.loaded_at - max(due, paused_until)).total_seconds(), 0.0)
