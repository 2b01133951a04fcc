"""A polling policy: intervals after the square-root law, in bounds, scaled to a number of reads."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import POLICY
from worker.domain.policy import InvalidPolicyError, PollPolicy

EXAMPLES = settings(max_examples=100, deadline=None, database=None)
WIDE = {"floor": timedelta(seconds=0.1), "cap": timedelta(days=1)}

ages = st.floats(0, 1e7)
scales = st.floats(1e-3, 1e3)
hazards = st.lists(st.floats(0, 10), min_size=3, max_size=3).map(tuple)


def a_policy(**changes: object) -> PollPolicy:
    return replace(POLICY, **changes)


def of_hazards(*curve: float, ages: tuple[float, ...] = (0,), **changes: object) -> PollPolicy:
    return a_policy(ages=ages, hazards={"*": curve}, **changes)


@pytest.mark.parametrize(("hazard", "scale"), [(0.01, 1), (0.0025, 2), (1e-4, 10)])
def test_reads_are_as_dense_as_the_root_of_the_hazard(hazard: float, scale: float):
    """Four times the hazard is twice the reads; the scale makes all of them denser alike."""
    policy = of_hazards(hazard, scale=scale, **WIDE)

    assert policy.interval("WAITING", 5) == pytest.approx(10)


def test_a_status_has_its_own_curve_and_every_other_the_common_one():
    """What Klarna adds one day is polled, too."""
    assert POLICY.interval("IN_PROGRESS", 600) == pytest.approx(48)
    assert POLICY.interval("WAITING", 600) == pytest.approx(60)
    assert POLICY.interval("NEVER_HEARD_OF", 600) == pytest.approx(90)


def test_an_interval_ends_sooner_where_the_hazard_rises_meanwhile():
    """The rise is not slept through: 0.3 of a read is due in 30 s, and then one a second."""
    policy = of_hazards(1e-4, 1.0, ages=(0, 30), **WIDE)

    assert policy.interval("*", 0) == pytest.approx(30.7)
    assert policy.interval("*", 30) == pytest.approx(1)


def test_an_interval_ends_later_where_the_hazard_falls_meanwhile():
    """Half a read in 5 s, the other half in 50 s."""
    policy = of_hazards(0.01, 1e-4, ages=(0, 10), **WIDE)

    assert policy.interval("*", 5) == pytest.approx(55)


@EXAMPLES
@given(hazards, scales, ages)
def test_an_interval_is_the_time_in_which_one_read_becomes_due(
    curve: tuple[float, ...], scale: float, age: float
):
    """The densities over it add up to one, and it is within floor and cap."""
    policy = of_hazards(*curve, ages=(0, 100, 5000), scale=scale)
    length = policy.interval("*", age)

    bins = zip(curve, (0, 100, 5000), (100, 5000, math.inf), strict=True)
    due = sum(
        min(0.5, max(1 / 2400, scale * math.sqrt(hazard)))
        * max(0, min(age + length, end) - max(age, begin))
        for hazard, begin, end in bins
    )
    assert due == pytest.approx(1, rel=1e-6)
    assert 2 * (1 - 1e-6) <= length <= 2400 * (1 + 1e-6)


@EXAMPLES
@given(st.sampled_from([*POLICY.hazards, "other"]), ages, scales, scales)
def test_a_greater_scale_never_reads_later(status: str, age: float, one: float, other: float):
    """The one knob has one direction."""
    fewer, more = (replace(POLICY, scale=scale) for scale in sorted((one, other)))

    assert more.interval(status, age) <= fewer.interval(status, age) * (1 + 1e-9)


@EXAMPLES
@given(ages, ages)
def test_a_read_that_is_waited_for_from_later_does_not_come_sooner(one: float, other: float):
    """However the hazard jumps, the next read is never before that of a younger age."""
    sooner, later = sorted((one, other))
    policy = of_hazards(1e-6, 1.0, 1e-6, ages=(0, 50, 60), **WIDE)

    assert sooner + policy.interval("*", sooner) <= (later + policy.interval("*", later)) * (
        1 + 1e-9
    )


@pytest.mark.parametrize(
    ("requests", "scale"),
    [(25, 0.5), (50, 1), (100, 2), (70.7106781, 2**0.5), (35.3553390, 0.5**0.5)],
)
def test_a_number_of_requests_becomes_a_scale(requests: float, scale: float):
    """Between the calibrated pairs both axes are logarithmic."""
    assert POLICY.for_requests(requests).scale == pytest.approx(scale)


@pytest.mark.parametrize("requests", [24.9, 101, 0, -5, math.nan, math.inf])
def test_requests_out_of_the_calibrations_range_are_refused(requests: float):
    """Nothing is extrapolated: nobody knows what it would cost."""
    with pytest.raises(ValueError, match=r"must be from 25 to 100, .*of-the-tests is calibrated"):
        POLICY.for_requests(requests)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"scale": 0}, "scale: must be above 0 and finite"),
        ({"scale": math.inf}, "scale: must be above 0 and finite"),
        ({"floor": timedelta(0)}, "floor_seconds: must be at least 0.1"),
        ({"cap": timedelta(seconds=1)}, "cap_seconds: must be at least floor_seconds"),
        ({"ages": ()}, "ages: must begin with 0"),
        ({"ages": (1, 2, 3)}, "ages: must begin with 0"),
        ({"ages": (0, 5, 5)}, "ages: must ascend, each above the one before"),
        ({"ages": (0, 5, math.nan)}, "ages: must ascend, each above the one before"),
        ({"ages": (0, 5, math.inf)}, "ages: must ascend, each above the one before"),
        ({"ages": (0, 5)}, "WAITING: hazard: has 3 values for 2 ages"),
        ({"hazards": {"*": (1, -1, 1)}}, "*: hazard: must not be negative, and finite"),
        ({"hazards": {"*": (1, 1, math.inf)}}, "*: hazard: must not be negative, and finite"),
        ({"hazards": {"*": (1, math.nan, 1)}}, "*: hazard: must not be negative, and finite"),
        ({"hazards": {"WAITING": (1, 1, 1)}}, "status: no line is for '*', every other status"),
        ({"calibration": ((1, 50),)}, "calibration: must have two pairs at least"),
        (
            {"calibration": ((1, 50), (2, 50))},
            "calibration: must be pairs above 0, scale and requests both ascending",
        ),
        (
            {"calibration": ((0, 50), (2, 60))},
            "calibration: must be pairs above 0, scale and requests both ascending",
        ),
        (
            {"calibration": ((1, 50), (math.inf, 60))},
            "calibration: must be pairs above 0, scale and requests both ascending",
        ),
    ],
)
def test_a_policy_that_says_something_impossible_is_refused(changes: dict[str, object], fault: str):
    """The error names the field, and the status where it is a status's."""
    with pytest.raises(InvalidPolicyError) as refused:
        a_policy(**changes)

    assert str(refused.value) == fault
