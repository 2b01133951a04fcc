"""An account's read budget after its limit, share and 429s, and its interval multiplier."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import NOW, ago, ahead
from worker.domain.account import AccountState
from worker.domain.policy import PollPolicy
from worker.domain.quota import (
    LARGEST_INTERVAL_MULTIPLIER,
    LEAST_BUDGET,
    PROBES,
    ReadQuotaConfig,
    burst,
    next_interval_multiplier,
    usual_limit,
)
from worker.domain.schedule import PollLimits, ideal_interval
from worker.domain.session import ReadQuota

ALLOWANCE = ReadQuotaConfig(limit=200, share=0.75)


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        ("https://api.klarna.com", 200),
        ("https://api-na.playground.klarna.com", 50),
        ("https://playground.klarna.com.example", 200),
        ("http://127.0.0.1:8080", 200),
    ],
)
def test_the_limit_is_what_klarna_documents_for_the_host(url: str, limit: float):
    assert usual_limit(url) == limit


@pytest.mark.parametrize(
    ("said", "fixed", "limit"),
    [
        pytest.param(None, False, 200, id="nothing-said"),
        pytest.param(400, False, 400, id="more"),
        pytest.param(5, False, 5, id="less"),
        pytest.param(400, True, 200, id="more-than-the-operator-says"),
        pytest.param(5, True, 5, id="less-than-the-operator-says"),
    ],
)
def test_what_answers_say_refines_the_limit(said: float | None, fixed: bool, limit: float):  # noqa: FBT001 - a table's column
    allowance = ReadQuotaConfig(limit=200, share=0.75, fixed=fixed)

    assert allowance.limit_of(AccountState(read_limit=said)) == limit
    assert allowance.budget(AccountState(read_limit=said), NOW) == limit * 0.75


def test_a_429_cuts_the_budget_which_grows_back_by_itself():
    state = AccountState().throttled(NOW, None)

    budgets = [ALLOWANCE.budget(state, ahead(seconds=s)) for s in (0, 30, 90, 900)]

    assert budgets == [pytest.approx(105), pytest.approx(120), 150, 150]


def test_cuts_add_up_to_a_twentieth_at_the_least():
    state = AccountState()
    for second in range(60):
        state = state.throttled(ahead(seconds=second), None)

    assert ALLOWANCE.budget(state, ahead(seconds=60)) == pytest.approx(150 * 0.05, rel=0.1)


def test_a_wave_of_429s_within_a_second_cuts_once():
    once = AccountState().throttled(NOW, None)

    assert once.throttled(ahead(seconds=0.5), None).quota_share == once.quota_share
    assert once.throttled(ahead(seconds=1), None).quota_share < once.quota_share


def test_an_answer_that_was_the_last_of_its_window_makes_careful():
    """Somebody else, the shop, is spending the rest."""
    said = ReadQuota(limit=200, remaining=0)
    known = AccountState(read_limit=200, last_read_at=NOW)

    assert known.read(NOW, ReadQuota(limit=200, remaining=1)) is known
    assert ALLOWANCE.budget(known.read(NOW, said), NOW) == pytest.approx(135)


def test_a_limit_is_written_where_it_changes_and_forgotten_when_no_answer_names_it():
    said = ReadQuota(limit=5)
    known = AccountState(last_read_at=NOW).read(NOW, said)

    assert (known.read_limit, known.read_limit_at) == (5, NOW)
    assert known.read(ahead(seconds=9), said) is known
    assert known.read(ahead(seconds=4), ReadQuota()) is known, "answers come mixed"
    assert known.read(ahead(seconds=5), ReadQuota()).read_limit is None


def test_limits_that_come_mixed_are_not_written_with_every_answer():
    """The least counts, at once; a higher one when nobody named it for a while."""
    state, known = AccountState(last_read_at=NOW), []
    for tenths in range(200):
        said = ReadQuota(limit=50 if tenths % 2 else 200)
        state = state.read(ahead(seconds=tenths / 10), said)
        known.append(state.read_limit)

    assert known.count(50) > 190
    assert sum(before != after for before, after in pairwise(known)) <= 8
    assert state.read(ahead(seconds=60), ReadQuota(limit=200)).read_limit == 200


def test_what_is_left_of_little_does_not_hold_an_account_up_for_minutes():
    """A read taken at a thousandth of a read a second would hold up the next for a quarter hour."""
    cut = AccountState(quota_share=0.05, quota_cut_at=NOW, recovered_at=NOW)

    assert ReadQuotaConfig(limit=1, share=0.75).budget(cut, NOW) == LEAST_BUDGET
    assert ReadQuotaConfig(limit=0.1, share=0.75).budget(cut, NOW) == pytest.approx(0.075)
    assert ALLOWANCE.budget(cut, NOW) == pytest.approx(0.75)


def test_a_probed_account_has_a_probe_a_second_whatever_its_limit():
    assert ALLOWANCE.budget(AccountState(refusals=1), NOW) == PROBES
    assert ALLOWANCE.budget(AccountState(failures=5), NOW) == PROBES


def test_an_account_that_came_back_has_a_tenth_of_its_budget_at_first():
    assert ALLOWANCE.budget(AccountState(recovered_at=NOW), NOW) == pytest.approx(15)


@given(st.floats(0.1, 100_000))
def test_a_burst_and_the_second_after_it_stay_below_the_limit(limit: float):
    budget = limit * 0.75

    assert burst(budget) >= 1
    assert burst(budget) + budget <= max(limit, budget + 1)


# --- the interval multiplier


@given(st.floats(1, LARGEST_INTERVAL_MULTIPLIER), st.none() | st.floats(0, 1e6))
def test_a_step_is_small_and_stays_in_bounds(multiplier: float, lateness_ratio: float | None):
    after = next_interval_multiplier(multiplier, lateness_ratio)

    assert 1 <= after <= LARGEST_INTERVAL_MULTIPLIER * 1.0001
    assert multiplier / 1.11 <= after <= multiplier * 1.03


def test_nobody_waiting_brings_every_interval_back():
    multiplier = LARGEST_INTERVAL_MULTIPLIER
    for _ in range(60):
        multiplier = next_interval_multiplier(multiplier, None)

    assert multiplier == 1


@pytest.mark.parametrize("load", [1.5, 2.0, 2.7, 5.0])
def test_under_a_load_that_lasts_the_multiplier_settles_below_what_the_queue_waits(load: float):
    """Reads are due at load / multiplier; what they wait beyond that is the queue's."""
    multiplier, seen = 1.0, []
    for _ in range(300):
        # The queue delays reads by the load until the intervals are long enough.
        multiplier = next_interval_multiplier(multiplier, load if multiplier < load else None)
        seen.append(multiplier)

    assert all(0.8 * load <= value <= load for value in seen[-60:]), "and never runs dry"


def test_where_no_multiplier_helps_it_does_not_run_away():
    """Sessions at the longest interval wait whatever the multiplier: they are worth little."""
    multiplier = 1.0
    for _ in range(300):
        multiplier = next_interval_multiplier(multiplier, 1.4)

    assert multiplier == pytest.approx(1.26)


def test_a_state_that_was_never_cut_has_its_whole_share():
    assert AccountState().share(NOW) == 1.0
    assert AccountState(quota_share=0.5, quota_cut_at=ahead(minutes=1)).share(NOW) == 0.5
    assert AccountState(quota_share=0.5, quota_cut_at=ago(hours=1)).share(NOW) == 1.0


# --- what a read is worth


POLICY = PollPolicy(
    name="test",
    ages=(0.0, 3600.0, 7200.0),
    hazards={"WAITING": (1e-2, 1e-8, 0.0), "*": (1e-4, 1e-8, 0.0)},
    calibration=((0.1, 10.0), (10.0, 1000.0)),
)


@pytest.mark.parametrize(
    ("status", "age", "seconds"),
    [
        pytest.param("WAITING", 0, 10, id="the-policys"),
        pytest.param("BACK", 0, 100, id="of-any-other-status"),
        pytest.param("WAITING", 4000, 4800, id="longer-than-the-longest-interval"),
        pytest.param("WAITING", 9999, 4800, id="no-hope"),
    ],
)
def test_the_ideal_interval_goes_beyond_the_longest_one_but_not_for_ever(
    status: str, age: float, seconds: float
):
    """By it a session of little hope waits for those of more; it is read at last."""
    ideal = ideal_interval(
        status, since=ago(seconds=age), now=NOW, limits=PollLimits(policy=POLICY)
    )

    assert ideal == pytest.approx(seconds)
