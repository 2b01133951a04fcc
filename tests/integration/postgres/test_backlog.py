"""The backlog that beat reports, and that reading it never delays a tick."""

from __future__ import annotations

import itertools

import anyio
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.stored import Stored
from worker.adapters.postgres.reports.backlog import PostgresBacklog
from worker.services.backlog_monitor import BacklogMonitor
from worker.services.errors import UnavailableError
from worker.services.meter import Backlog, Meter, ProcessFigures, SinkFigures, Waiting

pytestmark = pytest.mark.anyio

AUTHORIZED = "payment_session.authorized"
COMPLETED = {"outcome": "completed", "finished_at": "now", "next_poll_at": None}


async def test_due_sessions_are_counted_by_account_and_a_paused_one_has_none(
    engine: AsyncEngine, stored: Stored
):
    """Leased sessions count as under way; an account without sessions has zeros."""
    stored.add_account("paused", paused_for=600)
    stored.add_session("s1", due_in=-90)
    stored.add_session("s2", due_in=-30)
    stored.add_session("later", due_in=60)
    stored.add_session("p1", account="paused", due_in=-500)
    stored.rows(
        "UPDATE payment_sessions SET lease_id = gen_random_uuid(),"
        " lease_expires_at = now() + interval '30 s' WHERE session_id = 's2'"
    )

    due = (await PostgresBacklog(engine, accounts=["default", "paused", "idle"]).read()).due

    assert due["default"].count == 2
    assert due["default"].under_way == 1
    assert 90 <= due["default"].oldest_seconds < 120
    assert due["paused"] == due["idle"] == Waiting()


async def test_an_account_that_the_settings_lost_is_reported(engine: AsyncEngine, stored: Stored):
    """Its open sessions are not read. Finished ones are not counted."""
    stored.add_session("s1", account="a lost one", due_in=-90)
    stored.add_session("s2", account="zz", due_in=60)
    stored.add_session("done", account="old", **COMPLETED)

    due = (await PostgresBacklog(engine, accounts=["default"]).read()).due

    assert set(due) == {"default", "a lost one", "zz"}
    assert due["a lost one"].count == 1
    assert due["zz"] == due["default"] == Waiting()


async def test_what_a_person_gave_up_is_not_undelivered(engine: AsyncEngine, stored: Stored):
    """`events discard` ends the alert, as it ends that of dead deliveries."""
    stored.add_session("paid", **COMPLETED)
    stored.add_message("paid", 1, event_type=AUTHORIZED, sinks=("webhook",))
    stored.rows("UPDATE outbox_messages SET created_at = now() - interval '40 s'")
    stored.rows(
        "UPDATE outbox_deliveries SET dead_at = now(), last_error = %s", "discarded by hand"
    )

    assert (await PostgresBacklog(engine, accounts=["default"]).read()).undelivered == 0


async def test_what_waits_died_or_is_disabled_is_reported_by_sink(
    engine: AsyncEngine, stored: Stored
):
    """A payment counts if any sink has not got it, whether it is pending or dead."""
    stored.add_session("paid", **COMPLETED)
    stored.add_session("gone", **COMPLETED)
    waits = stored.add_message("paid", 1, event_type=AUTHORIZED, sinks=("redis_stream", "webhook"))
    dead = stored.add_message("gone", 1, event_type=AUTHORIZED, sinks=("webhook",))
    stored.add_message("gone", 2, sinks=("redis_stream",))
    stored.rows("UPDATE outbox_messages SET created_at = now() - interval '40 s'")
    stored.rows("UPDATE outbox_deliveries SET due_since = now() - interval '40 s'")
    stored.rows(
        "UPDATE outbox_deliveries SET delivered_at = now()"
        " WHERE event_id = %s AND sink = 'webhook'",
        waits,
    )
    stored.rows("UPDATE outbox_deliveries SET dead_at = now() WHERE event_id = %s", dead)
    stored.add("webhook_endpoints", sink="webhook_erp", disabled_at="now", reason="HTTP 410")

    seen = await PostgresBacklog(engine, accounts=["default"]).read()

    assert seen.undelivered == 2
    assert seen.sinks["redis_stream"].waiting.count == 2
    assert 40 <= seen.sinks["redis_stream"].waiting.oldest_seconds < 70
    assert seen.sinks["webhook"] == SinkFigures(waiting=Waiting(), dead_lettered=1)
    assert seen.sinks["webhook_erp"] == SinkFigures(waiting=Waiting(), disabled=True)


async def test_authorizations_are_counted_by_the_minutes_they_have_left(
    engine: AsyncEngine, stored: Stored
):
    """Each counts once, in the smallest class that holds it; those lapsed in the last day apart."""
    for session_id, minutes in (("a", 4), ("b", 9), ("c", 8), ("d", 50), ("over", -1)):
        stored.add_session(session_id, **COMPLETED)
        stored.rows(
            "UPDATE payment_sessions SET next_warning_at = now(),"
            " authorization_expires_at = now() + %s * interval '1 minute' WHERE session_id = %s",
            minutes,
            session_id,
        )
    stored.add_session("lapsed", **COMPLETED, authorization_lapsed_at="now")

    seen = await PostgresBacklog(engine, accounts=["default"]).read()

    assert seen.unconfirmed == {"5": 2, "10": 2, "20": 0, "60": 1}
    assert seen.lapsed == 1


class FakeBacklog:
    """Returns or raises the given answers in turn; waits until `go` is set."""

    def __init__(self, *answers: Backlog | Exception) -> None:
        self.go = anyio.Event()
        self._answers = list(answers)

    async def read(self) -> Backlog:
        """The next answer."""
        await self.go.wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeGovernor:
    """Knows no account."""

    def figures(self) -> dict[str, object]:
        """None."""
        return {}


class Seen(Meter):
    """Keeps the last figures."""

    def __init__(self) -> None:
        self.lapsed: list[int] = []
        self.forgotten = 0
        self.event = anyio.Event()

    def backlog(self, figures: Backlog) -> None:
        """Keep a figure that identifies the answer."""
        self.lapsed.append(figures.lapsed)
        self.event.set()

    def backlog_unknown(self) -> None:
        """Count it."""
        self.forgotten += 1


async def test_a_look_that_fails_ends_nothing_and_the_next_one_is_reported():
    """With the database unavailable, or a bug, beat continues and reads again later."""
    meter = Seen()
    backlog = FakeBacklog(UnavailableError("away"), ZeroDivisionError(), Backlog(lapsed=3))
    backlog.go.set()
    hours = itertools.count(0, 3600)
    watch = BacklogMonitor(backlog, FakeGovernor(), meter=meter, monotonic=lambda: next(hours))

    with anyio.fail_after(10):
        while not meter.event.is_set():
            await watch.refresh()
            await anyio.lowlevel.checkpoint()
    await watch.close()

    assert meter.lapsed == [3]


async def test_what_was_seen_is_reported_for_a_minute_without_another_look():
    """One failed read changes nothing. After a minute the figures are forgotten."""
    now = 0.0
    meter = Seen()
    away = UnavailableError("away")
    backlog = FakeBacklog(Backlog(lapsed=3), away, away)
    backlog.go.set()
    watch = BacklogMonitor(backlog, FakeGovernor(), meter=meter, monotonic=lambda: now)

    async def look(at: float) -> int:
        nonlocal now
        now = at
        await watch.refresh()
        await watch.close()
        return meter.forgotten

    assert [await look(0), await look(50), await look(70)] == [0, 0, 1]
    assert meter.lapsed == [3]


async def test_there_is_one_read_at_a_time():
    """A refresh does not wait for a slow read, and starts no second one."""
    meter = Seen()
    backlog = FakeBacklog(Backlog(lapsed=1), Backlog(lapsed=2))
    watch = BacklogMonitor(backlog, FakeGovernor(), meter=meter, monotonic=lambda: 0.0)
    await watch.refresh()
    await watch.refresh()
    backlog.go.set()
    with anyio.fail_after(10):
        await meter.event.wait()
    await watch.close()

    assert meter.lapsed == [1]


async def test_processes_and_queues_that_stand_still(engine: AsyncEngine, stored: Stored):
    """Before the migration, or without the right, the other figures are still known."""
    stored.add_process("worker", seen_ago=5)
    stored.add_process("worker", seen_ago=90)
    stored.rows(
        "INSERT INTO queues (queue, waiting, unchanged_since)"
        " VALUES ('payment-sessions', 1, now() - interval '50 s'), ('another', 0, NULL)"
    )
    stored.add_session("s1", due_in=-30)
    backlog = PostgresBacklog(engine, accounts=["default"])

    seen = (await backlog.read()).deployment
    stored.rows("ALTER TABLE processes RENAME TO elsewhere")
    unknown = await backlog.read()

    assert seen is not None
    assert seen.processes["worker"].running == 1
    assert 5 <= seen.processes["worker"].seen_seconds < 30
    assert seen.processes["beat"] == ProcessFigures()
    assert 50 <= seen.unchanged_seconds["tracks"] < 70
    assert seen.unchanged_seconds["polls"] == seen.unchanged_seconds["events"] == 0
    assert unknown.deployment is None
    assert unknown.due["default"].count == 1
