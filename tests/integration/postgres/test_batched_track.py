"""Many sessions are tracked in one transaction, each with its own result."""

from __future__ import annotations

import anyio
import psycopg
import pytest

from tests.support.leases import CLAIMS, claims, documented_url
from tests.support.stored import Stored
from tests.support.wired import OpenServices
from worker.adapters.postgres.engine import LOCK_TIMEOUT_MS
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.session import Kind
from worker.domain.track_arguments import TrackArguments
from worker.domain.tracking import TrackEffect, TrackRequest

pytestmark = pytest.mark.anyio


def requests(*session_ids: str, **arguments: object) -> list[TrackRequest]:
    return [TrackRequest(session_id=session_id, **arguments) for session_id in session_ids]


async def test_each_is_answered_in_order_and_all_are_polled_by_few_tasks(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("known", due_in=600)
    stored.add_session("finished", outcome="completed", finished_at="now", next_poll_at=None)
    stored.add_session("contradicted", due_in=600, status="WAITING", reference="order-1")

    tracked = await sessions.track(
        [
            *requests("new", "known", "new", "finished"),
            *requests("contradicted", reference="order-2"),
            *requests("other", account="other"),
        ],
        documented_url,
        CLAIMS,
    )

    *effects, conflict, other = tracked.effects
    assert effects == [
        TrackEffect.CREATED,
        TrackEffect.NUDGED,
        TrackEffect.NUDGED,
        TrackEffect.UNCHANGED,
    ]
    assert isinstance(conflict, ConflictError)
    assert other is TrackEffect.CREATED
    polls = {poll.account: sorted(poll.session_ids) for poll in tracked.polls}
    assert polls == {"default": ["known", "new"], "other": ["other"]}
    for poll in tracked.polls:
        assert {stored.session(name)["lease_id"] for name in poll.session_ids} == {poll.lease_id}


async def test_of_a_session_named_twice_the_first_request_is_the_first(
    sessions: PostgresSessions, stored: Stored
):
    names = [f"s{number}" for number in range(100)]
    first, again = requests(*names, reference="order-1"), requests(*names)

    tracked = await sessions.track([*first, *again], documented_url, CLAIMS)

    assert tracked.effects == [TrackEffect.CREATED] * 100 + [TrackEffect.NUDGED] * 100
    stored_rows = stored.rows("SELECT session_id FROM payment_sessions WHERE reference = 'order-1'")
    assert sorted(row["session_id"] for row in stored_rows) == sorted(names)


async def test_no_task_carries_more_than_it_may(sessions: PostgresSessions):
    tracked = await sessions.track(
        requests(*(f"s{number}" for number in range(25))),
        documented_url,
        claims(sessions_per_task=10),
    )

    assert sorted(len(poll.session_ids) for poll in tracked.polls) == [8, 8, 9]


async def test_an_account_without_an_address_stores_only_what_is_known(
    sessions: PostgresSessions, stored: Stored
):
    def only_nordic(account: str, kind: Kind, session_id: str) -> str:
        if account != "nordic":
            raise InvalidArgumentError("account", "is not configured")
        return documented_url(account, kind, session_id)

    stored.add_session("known", account="nordic")

    tracked = await sessions.track(requests("unknown", "known"), only_nordic, CLAIMS)

    refused, effect = tracked.effects
    assert isinstance(refused, InvalidArgumentError)
    assert effect is TrackEffect.NUDGED
    assert stored.value("SELECT count(*) FROM payment_sessions") == 1


async def test_a_session_that_somebody_holds_keeps_no_other_waiting(
    services: OpenServices, stored: Stored, shop: psycopg.Connection
):
    for name in ("held", "known"):
        stored.add_session(name, due_in=600)
    shop.execute("SELECT FROM payment_sessions WHERE session_id = 'held' FOR UPDATE")
    done = {name: anyio.Event() for name in ("held", "known", "new")}

    async with services() as opened, anyio.create_task_group() as group:

        async def track(name: str) -> None:
            await opened.track.track(TrackArguments(session_id=name))
            done[name].set()

        for name in done:
            group.start_soon(track, name)
        with anyio.fail_after(LOCK_TIMEOUT_MS / 1000):
            await done["known"].wait()
            await done["new"].wait()
        assert not done["held"].is_set()
        shop.rollback()
        await done["held"].wait()
