"""An account's pauses: who may be asked, and what is worth writing down."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.support.builders import NOW, ago, ahead
from worker.domain.account import AccountState


@pytest.mark.parametrize(
    ("paused_until", "paused"),
    [
        pytest.param(None, False, id="never"),
        pytest.param(ago(seconds=1), False, id="over"),
        pytest.param(NOW, False, id="ends-now"),
        pytest.param(ahead(seconds=1), True, id="ahead"),
    ],
)
def test_an_account_is_paused_until_its_pause_ends(paused_until: datetime | None, paused: bool):  # noqa: FBT001 - a table's column
    assert AccountState(paused_until=paused_until).is_paused(NOW) is paused


def test_refusals_in_a_row_pause_longer_and_a_read_starts_anew():
    account, pauses = AccountState(), []
    for _ in range(8):
        account = account.refused(NOW)
        pauses.append((account.paused_until - NOW).total_seconds())

    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert account.read(NOW).refused(NOW).paused_until == ahead(seconds=5)


def test_a_version_is_never_counted_here():
    """The writer of the state counts it, against the version that was read."""
    account = AccountState(version=4)

    changed = [account.refused(NOW), account.throttled(NOW, None), account.read(NOW)]

    assert {state.version for state in changed} == {4}


@pytest.mark.parametrize(
    ("account", "same"),
    [
        pytest.param(AccountState(), False, id="first-read"),
        pytest.param(AccountState(last_read_at=ago(seconds=30)), False, id="noted-long-ago"),
        pytest.param(AccountState(last_read_at=ago(seconds=29)), True, id="just-noted"),
        pytest.param(AccountState(last_read_at=NOW, refusals=1), False, id="was-refused"),
        pytest.param(AccountState(last_read_at=NOW, throttles=1), False, id="was-throttled"),
    ],
)
def test_a_healthy_read_is_noted_where_it_is_news(account: AccountState, same: bool):  # noqa: FBT001 - a table's column
    after = account.read(NOW)

    assert (after is account) is same
    assert same or replace(after, recovered_at=None) == AccountState(last_read_at=NOW)


def test_throttling_and_refusals_count_apart():
    account = AccountState(refusals=2).throttled(NOW, timedelta(seconds=3))

    assert (account.refusals, account.throttles) == (2, 1)
