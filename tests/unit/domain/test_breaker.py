"""An account whose reads fail is probed, and asked more and more again when it answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.support.builders import NOW, ago, ahead
from worker.domain.account import COUNTED_FAILURES, AccountState, Breaker

BROKEN = AccountState(failures=5, failing_since=ago(seconds=9))


def failed(state: AccountState, *waves: float, session_failures: int = 0) -> AccountState:
    """The state after waves of failures, so many seconds after NOW."""
    for seconds in waves:
        state = state.failed(ahead(seconds=seconds), session_failures=session_failures)
    return state


@pytest.mark.parametrize(
    ("waves", "open_"),
    [
        pytest.param((0, 1, 2, 3), False, id="four-waves"),
        pytest.param((0, 0.1, 0.2, 0.3, 0.4, 0.5), False, id="all-in-a-moment"),
        pytest.param((0, 0.5, 1, 1.5, 2), True, id="five-waves-over-two-seconds"),
        pytest.param((0, 0.1, 0.2, 0.3, 0.4, 2), True, id="and-still-two-seconds-later"),
    ],
)
def test_the_breaker_opens_after_waves_of_failures_that_last(waves: tuple[float, ...], open_: bool):  # noqa: FBT001 - a table's column
    state = failed(AccountState(), *waves)

    assert (state.breaker(ahead(seconds=9)) is Breaker.OPEN) is open_
    assert state.is_paused(ahead(seconds=waves[-1])) is open_


def test_one_session_that_always_fails_never_opens_it():
    """Whatever else is due or not: its first failures count, and they are too few."""
    state = AccountState()
    for failures in range(20):
        state = state.failed(ahead(minutes=failures), session_failures=failures)

    assert state.failures == COUNTED_FAILURES
    assert state.breaker(ahead(hours=1)) is Breaker.CLOSED


def test_an_answer_between_begins_the_count_anew():
    state = failed(AccountState(), 0, 1, 2, 3).answered(ahead(seconds=4))

    assert (state.failures, state.failing_since, state.recovered_at) == (0, None, None)
    assert not failed(state, 5, 6, 7, 8).is_broken


def test_probes_wait_longer_each_time_and_count_for_every_session():
    state, waits = BROKEN, []
    for _ in range(5):
        state = state.failed(NOW, session_failures=99)
        waits.append((state.paused_until - NOW).total_seconds())

    assert waits == [2, 4, 5, 5, 5]


@pytest.mark.parametrize(
    "reached",
    [
        pytest.param(AccountState.answered, id="404"),
        pytest.param(AccountState.read, id="200"),
    ],
)
def test_the_first_answer_closes_it_and_begins_a_ramp(
    reached: Callable[[AccountState, datetime], AccountState],
):
    state = reached(BROKEN, NOW)

    assert state.breaker(NOW) is state.breaker(ahead(seconds=9)) is Breaker.RAMPING
    assert state.breaker(ahead(seconds=10)) is Breaker.CLOSED
    shares = [state.ramp(ahead(seconds=seconds)) for seconds in (0, 5, 10, 99)]
    assert shares == [0.1, pytest.approx(0.55), 1, 1]
    assert not state.is_paused(NOW)


def test_a_clock_that_stands_back_does_not_stop_an_account_that_ramps_up():
    assert BROKEN.answered(NOW).ramp(ago(minutes=1)) == 0.1


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(BROKEN.refused(NOW), id="401"),
        pytest.param(BROKEN.throttled(NOW, timedelta(seconds=1)), id="429"),
    ],
)
def test_refusals_and_limits_are_answers_that_have_their_own_pause(state: AccountState):
    assert state.failures == 0
    assert state.is_paused(NOW)


def test_a_refused_account_that_fails_besides_is_probed_all_the_while():
    refused = AccountState(refusals=1)

    assert failed(refused, 0, session_failures=50).breaker(NOW) is Breaker.OPEN


@pytest.mark.parametrize(
    ("state", "when", "expected"),
    [
        pytest.param(AccountState(), NOW, Breaker.CLOSED, id="new"),
        pytest.param(AccountState(refusals=1), NOW, Breaker.OPEN, id="refused"),
        pytest.param(AccountState(throttles=3), NOW, Breaker.CLOSED, id="limited"),
        pytest.param(AccountState(recovered_at=NOW), NOW, Breaker.RAMPING, id="back"),
    ],
)
def test_an_account_stands_in_one_of_three_ways(
    state: AccountState, when: datetime, expected: Breaker
):
    assert state.breaker(when) is expected
