"""A chaos experiment: payment sessions in flight, a fault, and its cost in figures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import psycopg

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.figures import LEAST_IN_FLIGHT, Figures
from tests.support.processes import CeleryProcess
from tests.support.shop_consumer import ShopConsumer

# DESIGN 6 and issue 3: recovery within the lease and this much more.
RECOVERY_MARGIN_SECONDS = 5.0
EVENT_OF = {"completed": "payment_session.authorized"}
_DUE_COLUMNS = {
    "payment_sessions": ("next_poll_at", "last_polled_at", "last_read_at", "not_found_since"),
    "accounts": ("paused_until", "last_read_at", "failing_since", "recovered_at", "quota_cut_at"),
    "outbox_deliveries": ("next_attempt_at",),
}
# Leased, or due at beat's next tick.
_WORK_AT_HAND = """
    SELECT s.session_id FROM payment_sessions AS s LEFT JOIN accounts AS a USING (account)
    WHERE s.outcome IS NULL AND (
        s.lease_expires_at > now()
        OR GREATEST(s.next_poll_at, a.paused_until) <= now()
    )
"""


class Judge(Protocol):
    """Counts the cost of a fault for the sessions in flight; `since` is the end of the fault."""

    def __call__(self, deployment: Deployment, in_flight: list[str], *, since: datetime) -> None:
        """Fail unless every figure is at its target."""


class Experiment:
    """One fault in one deployment.

    `overrides` are environment variables of the processes alone, such as a proxy's address: the
    test itself does not use the proxy.
    """

    def __init__(self, deployment: Deployment, klarna: SandboxClient) -> None:
        self.deployment = deployment
        self.klarna = klarna
        self.consumer = ShopConsumer(deployment.environment["REDIS_URL"])
        self.overrides: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        self.figures: Figures | None = None
        self.processes: list[CeleryProcess] = []
        self._in_flight = 0
        self._over_at: float | None = None
        self._polled_before: dict[str, int] = {}

    # --- before the fault

    def start(
        self, *roles: str, arguments: Sequence[str] = (), **overrides: str
    ) -> list[CeleryProcess]:
        """Start several processes side by side, and wait until each is ready."""
        given = self.overrides | overrides
        started = [
            self.deployment.start(role, wait=False, arguments=arguments, **given) for role in roles
        ]
        for process in started:
            process.wait_until_ready()
        self.processes += started
        return started

    def create(self, count: int = LEAST_IN_FLIGHT, **script: Any) -> list[str]:  # noqa: ANN401 - ScriptFields
        """Create sessions at Klarna, to be paid at the end at the latest; return their ids."""
        created = self.klarna.create_sessions([script] * count)
        ids = [session["session_id"] for session in created]
        self.expected |= dict.fromkeys(ids, "completed")
        return ids

    def put_in_flight(self, count: int = LEAST_IN_FLIGHT, **script: Any) -> list[str]:  # noqa: ANN401 - ScriptFields
        """Track new sessions until the response to each one's request is held; return their ids.

        Every second response is COMPLETED: the fault hits a paid session without an event.
        """
        ids = self.create(count, **script)
        for session_id in ids[::2]:
            self.klarna.set_status(session_id, "COMPLETED")
        holds = [self.klarna.add_fault("hold", session_id=session_id) for session_id in ids]
        self.deployment.insert(*ids, account=str(script.get("account", "default")))
        self.klarna.wait_for_held(count, timeout_seconds=30)
        for hold in holds:
            self.klarna.clear_faults(fault_id=hold)
        self._in_flight += count
        return ids

    def track(self, count: int = LEAST_IN_FLIGHT, **script: Any) -> list[str]:  # noqa: ANN401 - ScriptFields
        """Track new sessions until each was read once; return their ids."""
        ids = self.create(count, **script)
        self.deployment.insert(*ids, account=str(script.get("account", "default")))
        self.wait_for_polls(*ids)
        self._in_flight += count
        return ids

    def count_in_flight(self, count: int) -> None:
        """Count sessions that the test itself put in flight."""
        self._in_flight += count

    def wait_for_polls(self, *session_ids: str, more: int = 1, within: float = 30) -> None:
        """Wait until each was polled `more` times from now on, or is finished."""
        before = self._polls(*session_ids)
        eventually(
            lambda: not self._unpolled(before, more=more),
            within=within,
            because="every session is polled",
        )

    # --- time

    def outage(self, seconds: float) -> None:
        """Let a fault last; fail if it ends a process."""
        until = time.monotonic() + seconds  # noqa: TID251 - the fault's own length
        eventually(
            lambda: self._all_run() and time.monotonic() > until,  # noqa: TID251 - a deadline
            within=seconds + 5,
            because="the fault has lasted",
        )

    def let_pass(self, seconds: float) -> None:
        """Shift all stored times, as if the time had passed."""
        span = f"interval '{seconds} seconds'"
        for table, columns in _DUE_COLUMNS.items():
            shifted = ", ".join(f"{column} = {column} - {span}" for column in columns)
            self.deployment.query(f"UPDATE {table} SET {shifted}")  # noqa: S608 - constants

    def live_through(self, minutes: float, *, step: float = 30) -> None:
        """Let minutes pass, in steps: in each, everything that becomes due is polled."""
        for _ in range(int(minutes * 60 / step)):
            self.let_pass(step)
            eventually(
                lambda: not self.deployment.query(_WORK_AT_HAND), within=60, because="all is quiet"
            )

    def _all_run(self) -> bool:
        for process in self.processes:
            assert process.process.poll() is None, process.log()[-2000:]
        return True

    # --- after it

    def fault_over(self) -> None:
        """Start the recovery time: every unfinished session needs a poll, tracked or not."""
        self._over_at = time.monotonic()  # noqa: TID251 - a recovery time is measured
        self._polled_before = dict.fromkeys(self.expected, 0) | self._polls(*self.expected)

    def end(self, *, within: float = 45, target_seconds: float | None = None) -> Figures:
        """Let everything be paid, and wait; fail unless every figure is at its target."""
        assert self._over_at is not None, "no fault was over"
        recovery = self._recovery(within)
        self.klarna.clear_faults()
        self.klarna.release()
        for session_id, outcome in self.expected.items():
            if outcome == "completed" and not self._is_finished_at_klarna(session_id):
                self.klarna.set_status(session_id, "COMPLETED")
        return self.judge(recovery, within=within, target_seconds=target_seconds)

    def judge(
        self,
        recovery_seconds: float | None,
        *,
        within: float = 45,
        target_seconds: float | None = None,
    ) -> Figures:
        """Wait for the outcomes and count; fail unless every figure is at its target.

        The default target is the lease and a margin.
        """
        unfinished = self._wait_for_ends(within)
        broken = self.deployment.broken_promises(self.consumer.read, within=within)
        once = Counter((event["subject"], event["type"]) for event in self.consumer.once())
        wanted = [
            (session_id, EVENT_OF.get(outcome, f"payment_session.{outcome}"))
            for session_id, outcome in self.expected.items()
        ]
        self.figures = Figures(
            in_flight=self._in_flight,
            recovery_seconds=recovery_seconds,
            target_seconds=target_seconds or self.lease_seconds + RECOVERY_MARGIN_SECONDS,
            lost_sessions=len(unfinished),
            lost_events=sum(not once[event] for event in wanted),
            repeated_events=sum(count - 1 for count in once.values()),
            broken_chains=self._broken_chains(),
            broken_promises=broken,
        )
        missed = self.figures.misses()
        assert not missed, "; ".join(missed)
        return self.figures

    @property
    def lease_seconds(self) -> float:
        """The deployment's lease."""
        return float(self.deployment.environment["POLL_LEASE_SECONDS"])

    def _recovery(self, within: float) -> float | None:
        try:
            eventually(lambda: not self._unpolled(self._polled_before), within=within)
        except AssertionError:
            return None
        return time.monotonic() - self._over_at  # noqa: TID251 - a recovery time is measured

    def _wait_for_ends(self, within: float) -> list[str]:
        """Wait until each session has its expected outcome; return those that do not."""
        try:
            eventually(lambda: not self._unfinished(), within=within)
        except AssertionError:
            return self._unfinished()
        return []

    def _is_finished_at_klarna(self, session_id: str) -> bool:
        return self.klarna.session(session_id)["status"] in {"COMPLETED", "CANCELLED", "DISABLED"}

    def _polls(self, *session_ids: str) -> dict[str, int]:
        rows = self.deployment.query(
            "SELECT session_id, poll_count FROM payment_sessions WHERE session_id = ANY(%s)",
            list(session_ids),
        )
        return {row["session_id"]: row["poll_count"] for row in rows}

    def _unpolled(self, before: dict[str, int], *, more: int = 1) -> list[dict[str, Any]]:
        return self.deployment.query(
            "SELECT session_id, poll_count, last_error, next_poll_at, lease_expires_at"
            " FROM unnest(%s::text[], %s::int[]) AS b(session_id, polls)"
            " LEFT JOIN payment_sessions AS s USING (session_id)"
            " WHERE s.outcome IS NULL AND COALESCE(s.poll_count, 0) < b.polls + %s",
            list(before),
            list(before.values()),
            more,
        )

    def _unfinished(self) -> list[str]:
        rows = self.deployment.query("SELECT session_id, outcome FROM payment_sessions")
        outcomes = {row["session_id"]: row["outcome"] for row in rows}
        return [id_ for id_, wanted in self.expected.items() if outcomes.get(id_) != wanted]

    def _broken_chains(self) -> int:
        rows = self.deployment.query(
            "SELECT session_id, from_status, to_status FROM status_transitions"
            " ORDER BY session_id, sequence"
        )
        stands: dict[str, str | None] = {}
        broken = set()
        for row in rows:
            if row["from_status"] != stands.get(row["session_id"]):
                broken.add(row["session_id"])
            stands[row["session_id"]] = row["to_status"]
        return len(broken)


def terminate_backends(database_url: str, *, limit: int | None = None) -> int:
    """End the worker's own connections to this database, the oldest first; returns how many."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM ("
            "  SELECT pid FROM pg_stat_activity"
            "  WHERE datname = current_database() AND application_name = 'klarna-session-worker'"
            "  ORDER BY backend_start LIMIT %s) AS oldest",
            [limit],
        ).fetchall()
        return len(rows)
