"""Polling over a real database, broker and mock Klarna server: request, record, lease."""

from __future__ import annotations

from datetime import timedelta

import anyio
import anyio.to_thread
import pytest

from devkit.sandbox.client_types import ScriptFields
from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient
from tests.support.queues import polls
from tests.support.stored import Stored
from tests.support.wired import OpenServices, Services, eventually_beside
from worker.domain.track_arguments import TrackArguments

pytestmark = pytest.mark.anyio


async def tracked(services: Services, sandbox: SandboxClient, **script: object) -> str:
    """A session that the mock Klarna server has, tracked."""
    session_id = sandbox.create_session(**ScriptFields(**script))["session_id"]
    await services.track.track(TrackArguments(session_id=session_id))
    return session_id


async def poll_what_was_sent(services: Services, redis_url: str) -> None:
    for session_ids, lease_id in polls(redis_url):
        await services.poll.poll(session_ids, lease_id)


_DELIVERED = """
    SELECT event_type FROM outbox_messages JOIN outbox_deliveries USING (event_id)
    WHERE delivered_at IS NOT NULL
"""


async def is_held(sandbox: SandboxClient, at_least: int = 1) -> None:
    await anyio.to_thread.run_sync(sandbox.wait_for_held, at_least)


async def test_a_paid_session_is_recorded_and_its_events_are_delivered(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened:
        session_id = await tracked(opened, sandbox, steps=[[0, "COMPLETED"]])

        await poll_what_was_sent(opened, redis_url)

    row = stored.session(session_id)
    assert (row["outcome"], row["lease_id"], row["poll_count"]) == ("completed", None, 1)
    assert stored.rows(_DELIVERED) == [{"event_type": "payment_session.authorized"}]


async def test_an_open_session_is_due_again_and_no_event_is_sent(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened:
        session_id = await tracked(opened, sandbox)

        await poll_what_was_sent(opened, redis_url)

    row = stored.session(session_id)
    assert (row["status"], row["outcome"], row["lease_id"]) == ("WAITING", None, None)
    assert row["next_poll_at"] > row["last_polled_at"]
    assert stored.rows("SELECT * FROM outbox_messages") == []


async def test_completed_with_neither_token_nor_order_is_read_again(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened:
        session_id = await tracked(opened, sandbox, steps=[[0, "COMPLETED"]], carries="neither")

        await poll_what_was_sent(opened, redis_url)

    row = stored.session(session_id)
    assert (row["status"], row["outcome"], row["lease_id"]) == ("COMPLETED", None, None)
    assert row["next_poll_at"] > row["last_polled_at"]
    assert stored.rows("SELECT * FROM outbox_messages") == []


async def test_a_failed_read_keeps_everything_and_retries(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened:
        session_id = await tracked(opened, sandbox, faults=[{"kind": "status", "code": 500}])

        await poll_what_was_sent(opened, redis_url)

    row = stored.session(session_id)
    assert (row["status"], row["consecutive_failures"], row["lease_id"]) == (None, 1, None)
    assert row["last_error"].startswith("server_error: HTTP 500: correlation id ")


async def test_a_nudge_while_a_poll_is_in_flight_polls_again_at_once(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened, anyio.create_task_group() as group:
        session_id = await tracked(opened, sandbox, faults=[{"kind": "hold", "times": 1}])
        group.start_soon(poll_what_was_sent, opened, redis_url)
        await is_held(sandbox)

        await opened.track.track(TrackArguments(session_id=session_id))
        sandbox.set_status(session_id, "COMPLETED")
        sandbox.release()

    row = stored.session(session_id)
    assert (row["poll_count"], row["outcome"]) == (2, "completed")
    assert stored.statuses(session_id) == ["WAITING", "COMPLETED"]
    assert polls(redis_url) == []


async def test_a_refused_account_is_asked_no_more_and_its_sessions_keep_their_state(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened:
        first = await tracked(opened, sandbox)
        second = await tracked(opened, sandbox)
        sandbox.add_fault("status", code=401)

        await poll_what_was_sent(opened, redis_url)

        account = stored.account()
        assert account is not None
        assert account["refusals"] == 1
        assert len(sandbox.requests()) == 1
        asked, skipped = stored.session(first), stored.session(second)
        assert asked["next_poll_at"] == account["paused_until"]
        assert asked["last_error"] == "account_refused: HTTP 401"
        assert (skipped["lease_id"], skipped["poll_count"], skipped["last_error"]) == (
            None,
            0,
            None,
        )

        await opened.dispatch.tick()
        assert polls(redis_url) == []


async def test_a_session_of_an_account_that_this_worker_lacks_is_left_to_others(
    services: OpenServices,
    sandbox: SandboxClient,
    stored: Stored,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
):
    """An old worker beside a new one: no pause, no failure, the read given back, logged once."""
    nordic = {
        "KLARNA_ACCOUNTS__NORDIC__USERNAME": DEFAULT_USERNAME,
        "KLARNA_ACCOUNTS__NORDIC__PASSWORD": DEFAULT_PASSWORD,
        "KLARNA_ACCOUNTS__NORDIC__BASE_URL": sandbox.url,
        "KLARNA_ACCOUNTS__NORDIC__READ_LIMIT": "0.2",
    }
    async with services() as old, services(**nordic) as new:
        session_id = sandbox.create_session()["session_id"]
        await new.track.track(TrackArguments(session_id=session_id, account="nordic"))
        ((session_ids, lease_id),) = polls(redis_url)

        await old.poll.poll(session_ids, lease_id)

        held = stored.rows(
            "SELECT lease_expires_at - clock_timestamp() AS left, next_poll_at <= now() AS due,"
            " consecutive_failures, poll_count, last_error FROM payment_sessions"
        )[0]
        assert timedelta(seconds=3) < held.pop("left") <= timedelta(seconds=5)
        assert held == {
            "due": True,
            "consecutive_failures": 0,
            "poll_count": 0,
            "last_error": None,
        }
        assert stored.account("nordic") is None
        assert sandbox.requests() == []
        await new.dispatch.tick()
        assert polls(redis_url) == [], "the lease is kept"

        stored.rows("UPDATE payment_sessions SET lease_expires_at = clock_timestamp()")
        await new.dispatch.tick()
        ((session_ids, lease_id),) = polls(redis_url)
        await old.poll.poll(session_ids, lease_id)
        assert capsys.readouterr().out.count("account_not_configured") == 1
        await old.poll.close()
        assert stored.session(session_id)["lease_id"] is not None, "not released at the end"


async def test_sessions_of_one_task_are_polled_side_by_side(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services(POLL_TASKS_PER_TICK="1") as opened, anyio.create_task_group() as group:
        slow = sandbox.create_session(faults=[{"kind": "hold"}])["session_id"]
        quick = sandbox.create_session()["session_id"]
        for session_id in (slow, quick):
            url = f"{sandbox.url}/hpp/v1/sessions/{session_id}"
            stored.add_session(session_id, session_url=url)
        await opened.dispatch.tick()
        group.start_soon(poll_what_was_sent, opened, redis_url)
        await is_held(sandbox)

        await eventually_beside(lambda: stored.session(quick)["poll_count"] == 1)

        assert stored.session(slow)["poll_count"] == 0
        sandbox.release()


async def test_a_fault_of_ours_at_one_session_harms_no_other_of_its_task(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services(POLL_TASKS_PER_TICK="1") as opened:
        ids = [sandbox.create_session()["session_id"] for _ in range(2)]
        for session_id in ids:
            url = f"{sandbox.url}/hpp/v1/sessions/{session_id}"
            stored.add_session(session_id, session_url=url)
        stored.add(
            "status_transitions",
            session_id=ids[0],
            sequence=1,
            to_status="IMPOSSIBLE",
            occurred_at="now",
            observed_at="now",
        )
        await opened.dispatch.tick()

        await poll_what_was_sent(opened, redis_url)

    assert stored.session(ids[0])["status"] is None
    assert stored.session(ids[1])["status"] == "WAITING"


async def test_a_message_that_comes_twice_asks_once(
    services: OpenServices, sandbox: SandboxClient, redis_url: str
):
    async with services() as opened:
        await tracked(opened, sandbox)
        ((session_ids, lease_id),) = polls(redis_url)

        await opened.poll.poll(session_ids, lease_id)
        await opened.poll.poll(session_ids, lease_id)

    assert len(sandbox.requests()) == 1


async def test_an_answer_after_the_lease_was_lost_is_dropped(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened, anyio.create_task_group() as group:
        fault = {"kind": "hold"}
        session_id = await tracked(opened, sandbox, steps=[[0, "COMPLETED"]], faults=[fault])
        group.start_soon(poll_what_was_sent, opened, redis_url)
        await is_held(sandbox)

        stored.rows("UPDATE payment_sessions SET lease_id = gen_random_uuid()")
        sandbox.release()

    assert stored.session(session_id)["status"] is None
    assert stored.rows("SELECT * FROM outbox_messages") == []


async def test_a_failed_answer_after_the_lease_was_lost_is_dropped(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened, anyio.create_task_group() as group:
        faults = [{"kind": "hold"}, {"kind": "status", "code": 503}]
        session_id = await tracked(opened, sandbox, faults=faults)
        group.start_soon(poll_what_was_sent, opened, redis_url)
        await is_held(sandbox)

        stored.rows("UPDATE payment_sessions SET lease_id = gen_random_uuid()")
        sandbox.release()

    assert stored.session(session_id)["last_error"] is None


# --- stopping


async def test_a_worker_that_stops_hands_back_what_it_is_given(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened:
        session_id = await tracked(opened, sandbox)
        opened.poll.stop()

        await poll_what_was_sent(opened, redis_url)

    assert stored.session(session_id)["lease_id"] is None
    assert sandbox.requests() == []


async def test_a_worker_that_stops_answers_no_nudge_itself(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened, anyio.create_task_group() as group:
        session_id = await tracked(opened, sandbox, faults=[{"kind": "hold", "times": 1}])
        group.start_soon(poll_what_was_sent, opened, redis_url)
        await is_held(sandbox)
        await opened.track.track(TrackArguments(session_id=session_id))

        opened.poll.stop()
        sandbox.release()

    row = stored.session(session_id)
    assert (row["poll_count"], row["lease_id"]) == (1, None)
    assert row["next_poll_at"] >= row["nudged_at"]


async def test_a_worker_that_closes_gives_its_leases_back(
    services: OpenServices, sandbox: SandboxClient, stored: Stored, redis_url: str
):
    async with services() as opened, anyio.create_task_group() as group:
        faults = [{"kind": "hold"}]
        ids = [await tracked(opened, sandbox, faults=faults) for _ in range(2)]
        for session_ids, lease_id in polls(redis_url):
            group.start_soon(opened.poll.poll, session_ids, lease_id)
        await is_held(sandbox, 2)

        await opened.poll.close()
        await opened.poll.close()

        assert [stored.session(session_id)["lease_id"] for session_id in ids] == [None, None]
        sandbox.release()
