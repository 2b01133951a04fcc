"""When the next read is: reads thin out with the status's age, within every bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import LIMITS, NOW, POLICY, ago, ahead
from worker.domain.schedule import (
    LONGEST_INTERVAL,
    LONGEST_JITTER,
    PollLimits,
    backoff_ceiling,
    next_poll_at,
    retry_at,
)

FAR = ahead(days=2)
EXAMPLES = settings(max_examples=100, deadline=None, database=None)
NEARLY_ONE = 1 - 2**-53

jitters = st.floats(min_value=0, max_value=NEARLY_ONE)
statuses = st.sampled_from(["WAITING", "IN_PROGRESS", "FAILED", "incomplete", ""]) | st.text()
multipliers = st.sampled_from([1.0, 1.7, 1e9]) | st.floats(1, 100)
moments = st.timedeltas(timedelta(days=-400), timedelta(days=400)).map(lambda d: NOW + d)
limits_of_any_size = st.builds(
    PollLimits,
    policy=st.sampled_from([POLICY, replace(POLICY, scale=1e-3, cap=timedelta(days=9))]),
    max_interval=st.timedeltas(timedelta(milliseconds=1), timedelta(days=2)),
)


def interval(
    status: str,
    age: timedelta,
    *,
    jitter: float = 0.5,
    limits: PollLimits = LIMITS,
    interval_multiplier: float = 1.0,
) -> timedelta:
    at = next_poll_at(
        status,
        since=NOW - age,
        now=NOW,
        final_read_at=FAR,
        jitter=jitter,
        limits=limits,
        interval_multiplier=interval_multiplier,
    )
    return at - NOW


@pytest.mark.parametrize(
    ("status", "age", "seconds"),
    [
        ("WAITING", timedelta(0), 2),
        ("WAITING", timedelta(minutes=10), 60),
        ("WAITING", timedelta(hours=2), 360),
        ("IN_PROGRESS", timedelta(minutes=10), 48),
        ("UNHEARD_OF", timedelta(minutes=10), 90),
    ],
)
def test_an_open_session_is_read_again_after_its_policys_interval(
    status: str, age: timedelta, seconds: float
):
    """Which interval a policy says, tests/unit/domain/test_policy.py looks at."""
    assert interval(status, age).total_seconds() == pytest.approx(seconds)


def test_a_status_that_begins_in_the_future_is_new():
    """No clock that is ahead makes an age negative."""
    assert interval("WAITING", timedelta(hours=-5)) == POLICY.floor


def test_an_accounts_multiplier_lengthens_the_interval():
    """What the governor asks for, every status of the account waits longer by."""
    assert interval("WAITING", timedelta(minutes=10), interval_multiplier=2.5) == timedelta(
        seconds=150
    )


@pytest.mark.parametrize(("jitter", "share"), [(0, 0.9), (0.5, 1), (0.75, 1.05), (NEARLY_ONE, 1.1)])
def test_healthy_reads_are_spread_by_a_tenth_either_way(jitter: float, share: float):
    """Sessions that were tracked together are not read together."""
    spread = interval("WAITING", timedelta(minutes=10), jitter=jitter)

    assert spread.total_seconds() == pytest.approx(60 * share)


@pytest.mark.parametrize(("jitter", "seconds"), [(0, 345), (0.5, 360), (NEARLY_ONE, 375)])
def test_long_intervals_are_spread_by_a_quarter_of_a_minute(jitter: float, seconds: float):
    """More would be paid for in requests: most of them are spent at long intervals."""
    spread = interval("WAITING", timedelta(hours=2), jitter=jitter)

    assert spread.total_seconds() == pytest.approx(seconds)


def test_the_longest_interval_beats_the_floor():
    """A deployment may ask for more reads than any policy would spend."""
    short = replace(LIMITS, max_interval=timedelta(milliseconds=100))

    assert interval("WAITING", timedelta(0), limits=short) <= timedelta(milliseconds=100)


@pytest.mark.parametrize("longest", [timedelta(minutes=30), timedelta(days=1)])
def test_at_the_longest_interval_too_not_everybody_comes_at_once(longest: timedelta):
    """The spread lies before it; and a token always keeps its 20 minutes, whatever is set."""
    limits = replace(LIMITS, max_interval=longest)
    early, late = (
        interval("WAITING", timedelta(hours=40), jitter=j, limits=limits, interval_multiplier=99)
        for j in (0.0, NEARLY_ONE)
    )

    assert late - early == pytest.approx(2 * LONGEST_JITTER, abs=timedelta(milliseconds=1))
    assert late == pytest.approx(min(longest, timedelta(minutes=40)), abs=timedelta(milliseconds=1))
    assert late <= min(longest, timedelta(minutes=40))


@pytest.mark.parametrize(
    ("final_read_at", "at"),
    [
        pytest.param(ahead(seconds=30), ahead(seconds=30), id="comes-first"),
        pytest.param(ahead(seconds=60), ahead(seconds=60), id="comes-at-once"),
        pytest.param(ahead(seconds=90), ahead(seconds=60), id="comes-later"),
        pytest.param(NOW, ahead(seconds=60), id="is-now"),
        pytest.param(ago(seconds=1), ahead(seconds=60), id="is-over"),
    ],
)
def test_a_read_falls_on_the_last_moment_while_that_lies_ahead(
    final_read_at: datetime, at: datetime
):
    """A session's last read comes at its end plus grace, never after."""
    assert at == next_poll_at(
        "WAITING",
        since=ago(minutes=10),
        now=NOW,
        final_read_at=final_read_at,
        jitter=0.5,
        limits=LIMITS,
    )


@EXAMPLES
@given(statuses, moments, moments, jitters, limits_of_any_size, multipliers)
def test_no_read_is_out_of_bounds(
    status: str,
    since: datetime,
    final_read_at: datetime,
    jitter: float,
    limits: PollLimits,
    interval_multiplier: float,
):
    """Neither status nor age, policy, multiplier, jitter or a close end take it past any bound."""
    at = next_poll_at(
        status,
        since=since,
        now=NOW,
        final_read_at=final_read_at,
        jitter=jitter,
        limits=limits,
        interval_multiplier=interval_multiplier,
    )

    assert NOW <= at <= NOW + min(limits.max_interval, LONGEST_INTERVAL)
    if final_read_at > NOW:
        assert at <= final_read_at
    else:
        assert at >= NOW + min(limits.policy.floor * 0.9, limits.max_interval * 0.8)


# --- retries


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(-3, 1), (0, 1), (1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (10_000, 300)],
)
def test_backoff_doubles_from_a_second_to_five_minutes(failures: int, seconds: int):
    assert backoff_ceiling(failures) == timedelta(seconds=seconds)


@EXAMPLES
@given(st.integers(1, 10_000), moments, jitters, limits_of_any_size)
def test_no_retry_is_out_of_bounds(
    failures: int, final_read_at: datetime, jitter: float, limits: PollLimits
):
    at = retry_at(failures, now=NOW, final_read_at=final_read_at, jitter=jitter, limits=limits)

    assert NOW <= at <= NOW + min(backoff_ceiling(failures), limits.max_interval)
    if final_read_at > NOW:
        assert at <= final_read_at


@pytest.mark.parametrize(("jitter", "seconds"), [(0, 0), (0.25, 16), (0.5, 32), (0.75, 48)])
def test_retries_spread_over_the_whole_backoff(jitter: float, seconds: float):
    at = retry_at(7, now=NOW, final_read_at=FAR, jitter=jitter, limits=LIMITS)

    assert at == NOW + timedelta(seconds=seconds)
