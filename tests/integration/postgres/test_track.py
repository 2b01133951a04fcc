"""Tracking in Postgres: what is stored, and the lease of the first poll with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from tests.support.leases import CLAIMS, TrackedOne, claims, documented_url, track
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.session import Kind
from worker.domain.tracking import TrackEffect
from worker.services.sessions import PollTask

pytestmark = pytest.mark.anyio

LATER = datetime(2030, 5, 1, 12, tzinfo=UTC)


async def test_a_new_session_is_stored_due_with_the_lease_of_its_first_poll(
    sessions: PostgresSessions, stored: Stored
):
    tracked = await track(sessions)

    row = stored.session("s1")
    assert tracked.effect is TrackEffect.CREATED
    assert tracked.poll == PollTask(
        account="default", lease_id=row["lease_id"], session_ids=("s1",)
    )
    assert (row["account"], row["kind"]) == ("default", "hpp")
    assert row["session_url"] == documented_url("default", Kind.HPP, "s1")
    assert row["lease_expires_at"] - row["tracked_at"] == pytest.approx(
        CLAIMS.lease, abs=timedelta(seconds=1)
    )
    assert row["next_poll_at"] == row["tracked_at"]


async def test_everything_the_shop_says_is_stored(sessions: PostgresSessions, stored: Stored):
    await track(
        sessions,
        session_url="https://elsewhere.test/s1",
        expires_at=LATER,
        account="other",
        kind=Kind.KP,
        reference="order-1",
    )

    row = stored.session("s1")
    assert row["session_url"] == "https://elsewhere.test/s1"
    assert row["expires_at"] == LATER
    assert (row["account"], row["kind"], row["reference"]) == ("other", "kp", "order-1")


async def test_tracking_again_makes_the_session_due_and_leases_it(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", due_in=600, reference="order-1", expires_at=LATER, status="WAITING")

    tracked = await track(sessions)

    row = stored.session("s1")
    assert tracked.effect is TrackEffect.NUDGED
    assert tracked.poll is not None
    assert tracked.poll.lease_id == row["lease_id"]
    assert row["next_poll_at"] == row["nudged_at"]
    assert (row["reference"], row["expires_at"], row["status"]) == ("order-1", LATER, "WAITING")


async def test_tracking_during_a_live_lease_only_notes_the_nudge(
    sessions: PostgresSessions, stored: Stored
):
    await track(sessions)
    before = stored.session("s1")

    tracked = await track(sessions)

    after = stored.session("s1")
    assert (tracked.effect, tracked.poll) == (TrackEffect.NUDGED, None)
    assert after["nudged_at"] is not None
    assert after["lease_id"] == before["lease_id"]
    assert after["lease_expires_at"] == before["lease_expires_at"]


async def test_tracking_after_a_lease_ran_out_takes_a_new_one(
    sessions: PostgresSessions, stored: Stored
):
    first = await track(sessions)
    stored.run_out("s1")

    second = await track(sessions)

    assert first.poll is not None
    assert second.poll is not None
    assert stored.session("s1")["lease_id"] == second.poll.lease_id != first.poll.lease_id


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ({"reference": "order-2"}, "reference", "order-2"),
        ({"account": "other"}, "account", "other"),
        ({"kind": Kind.KP}, "kind", "kp"),
        ({"session_url": "https://elsewhere.test/s1"}, "session_url", "https://elsewhere.test/s1"),
        ({"expires_at": LATER}, "expires_at", LATER),
    ],
    ids=["reference", "account", "kind", "session_url", "expires_at"],
)
async def test_an_argument_corrects_a_session_that_was_never_read(
    sessions: PostgresSessions, stored: Stored, arguments: dict[str, Any], field: str, value: object
):
    url = documented_url("default", Kind.HPP, "s1")
    stored.add_session(
        "s1", session_url=url, reference="order-1", consecutive_failures=7, last_error="not_found"
    )

    tracked = await track(sessions, **arguments)

    row = stored.session("s1")
    assert tracked.effect is TrackEffect.NUDGED
    assert row[field] == value
    # Failures at another URL do not count for this one.
    is_elsewhere = field in {"account", "kind", "session_url"}
    assert row["consecutive_failures"] == (0 if is_elsewhere else 7)
    assert row["last_error"] == (None if is_elsewhere else "not_found")
    if field in {"account", "kind"}:
        assert row["session_url"] == documented_url(row["account"], Kind(row["kind"]), "s1")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"reference": "order-2"}, "reference"),
        ({"account": "other"}, "account"),
        ({"kind": Kind.KP}, "kind"),
        ({"session_url": "https://elsewhere.test/s1"}, "session_url"),
        ({"expires_at": LATER + timedelta(hours=1)}, "expires_at"),
    ],
    ids=["reference", "account", "kind", "session_url", "expires_at"],
)
async def test_an_argument_that_contradicts_what_was_read_is_a_conflict_and_stores_nothing(
    sessions: PostgresSessions, stored: Stored, arguments: dict[str, Any], field: str
):
    stored.add_session("s1", due_in=600, status="WAITING", reference="order-1", expires_at=LATER)
    before = stored.session("s1")

    with pytest.raises(ConflictError) as raised:
        await track(sessions, **arguments)

    assert raised.value.field == field
    assert stored.session("s1") == before


@pytest.mark.parametrize("outcome", ["completed", "cancelled", "disabled"])
async def test_what_klarna_finished_stays_as_it_is(
    sessions: PostgresSessions, stored: Stored, outcome: str
):
    stored.add_session("s1", outcome=outcome, finished_at=LATER, next_poll_at=None)
    before = stored.session("s1")

    tracked = await track(sessions, reference="order-2")

    assert (tracked.effect, tracked.poll) == (TrackEffect.UNCHANGED, None)
    assert stored.session("s1") == before


@pytest.mark.parametrize("outcome", ["expired", "not_found"])
async def test_a_guessed_end_is_opened_and_read_once_more(
    sessions: PostgresSessions, stored: Stored, outcome: str
):
    stored.add_session("s1", outcome=outcome, finished_at=LATER, next_poll_at=None)

    tracked = await track(sessions)

    row = stored.session("s1")
    assert tracked.effect is TrackEffect.REOPENED
    assert tracked.poll is not None
    assert (row["outcome"], row["finished_at"]) == (None, None)
    assert row["guessed_outcome"] == outcome
    assert row["next_poll_at"] is not None


async def test_a_paused_accounts_session_is_stored_without_a_lease(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_account(paused_for=60, refusals=1)

    tracked = await track(sessions)

    assert (tracked.effect, tracked.poll) == (TrackEffect.CREATED, None)
    assert stored.session("s1")["lease_id"] is None


@pytest.mark.parametrize("limit", ["sessions_in_flight", "tasks_in_flight"])
async def test_an_account_with_enough_under_way_leaves_the_first_poll_to_beat(
    sessions: PostgresSessions, stored: Stored, limit: str
):
    limits = claims(**{limit: 2})
    polls = [(await track(sessions, f"s{n}", limits=limits)).poll for n in range(3)]

    assert [poll is not None for poll in polls] == [True, True, False]
    assert stored.session("s2")["lease_id"] is None


async def test_an_account_without_an_address_stores_nothing(
    sessions: PostgresSessions, stored: Stored
):
    def no_address(account: str, kind: Kind, session_id: str) -> str:  # noqa: ARG001 - a SessionUrls
        raise InvalidArgumentError("account", "is not configured")

    with pytest.raises(InvalidArgumentError):
        await track(sessions, session_urls=no_address)

    assert stored.rows("SELECT * FROM payment_sessions") == []


async def test_tracked_many_times_at_once_a_session_is_one_row_with_one_poll(
    sessions: PostgresSessions, stored: Stored
):
    tracked: list[TrackedOne] = []

    async def track_one() -> None:
        tracked.append(await track(sessions))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(track_one)

    assert sorted(t.effect for t in tracked) == [TrackEffect.CREATED] + [TrackEffect.NUDGED] * 9
    assert len([t for t in tracked if t.poll]) == 1
    assert stored.value("SELECT count(*) FROM payment_sessions") == 1


async def test_no_claim_ever_sees_a_tracked_session_without_its_lease(
    sessions: PostgresSessions,
):
    polls: list[str] = []
    tracking = True

    async def track_one(session_id: str) -> None:
        poll = (await track(sessions, session_id)).poll
        polls.extend(poll.session_ids if poll else [])

    async def claim_all_the_while() -> None:
        while tracking:
            for task in await sessions.claim("default", tasks=4, limits=CLAIMS):
                polls.extend(task.session_ids)

    async with anyio.create_task_group() as group:
        group.start_soon(claim_all_the_while)
        async with anyio.create_task_group() as tracks:
            for number in range(20):
                tracks.start_soon(track_one, f"s{number}")
        tracking = False

    assert sorted(polls) == sorted(f"s{number}" for number in range(20))
