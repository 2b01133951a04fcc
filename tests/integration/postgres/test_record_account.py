"""What a recorded answer changes in the state of its account."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from tests.support.leases import claim_and_load, decision_on
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.errors import AccountRefusedError

pytestmark = pytest.mark.anyio


async def test_a_wave_of_refusals_counts_once(sessions: PostgresSessions, stored: Stored):
    for number in range(10):
        stored.add_session(f"s{number}")
    loaded = await claim_and_load(sessions)

    async with anyio.create_task_group() as group:
        for leased in loaded.values():
            decision = decision_on(leased, AccountRefusedError(status_code=401))
            group.start_soon(sessions.record, leased, decision)

    account = stored.account()
    assert account is not None
    assert (account["refusals"], account["version"]) == (1, 1)
    assert account["paused_until"] - next(iter(loaded.values())).loaded_at < timedelta(seconds=6)
    errors = stored.rows("SELECT last_error, status, consecutive_failures FROM payment_sessions")
    assert {tuple(row.values()) for row in errors} == {("account_refused: HTTP 401", None, 0)}


async def test_a_healthy_read_ends_the_accounts_pause(sessions: PostgresSessions, stored: Stored):
    stored.add_account(refusals=3, throttles=1, version=7)
    stored.add_session("s1")
    leased = (await claim_and_load(sessions))["s1"]

    await sessions.record(leased, decision_on(leased, "WAITING"))

    account = stored.account()
    assert account is not None
    assert (account["refusals"], account["throttles"], account["paused_until"]) == (0, 0, None)
    assert (account["version"], account["last_read_at"]) == (8, leased.loaded_at)


async def test_a_read_that_changes_nothing_of_the_account_writes_nothing_of_it(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_account(last_read_at="now")
    stored.add_session("s1")
    leased = (await claim_and_load(sessions))["s1"]

    await sessions.record(leased, decision_on(leased, "WAITING"))

    account = stored.account()
    assert account is not None
    assert account["version"] == 1
