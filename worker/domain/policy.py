"""The polling policy as data: how valuable a read is in each status at each age.

Pure: it reads no clock and no file, and does not include a deployment's limits.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Self

# The curve of every status without one of its own.
ANY_STATUS = "*"
# From this share of the cap on, the cap determines the interval.
CAPPED_FROM = 0.99


class InvalidPolicyError(ValueError):
    """An invalid policy; `field` and, if known, `status` name the error."""

    def __init__(self, field: str, reason: str, *, status: str | None = None) -> None:
        self.field = field
        self.reason = reason
        self.status = status
        super().__init__(f"{status}: {field}: {reason}" if status else f"{field}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPolicy:
    """When to read, by status and by the seconds since the status began.

    `hazards` has, by status, a value for each bin of `ages` (seconds; a bin ends where the next
    begins, the last never): the value of a read per second, which is the rate of completions plus
    the weighted rate of steps towards one. The density of reads is `scale` times its square root,
    between `floor` and `cap` (Keller, "Optimum checking schedules for systems subject to random
    failure", Management Science 21(3), 1974). `calibration` has pairs of a scale and the average
    number of requests for a payment session, both ascending.

    Raises:
        InvalidPolicyError: a field is invalid.
    """

    name: str
    ages: tuple[float, ...]
    hazards: Mapping[str, tuple[float, ...]]
    calibration: tuple[tuple[float, float], ...]
    floor: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(minutes=40)
    scale: float = 1.0
    _reads: Mapping[str, _Reads] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_bounds(self)
        _check_curves(self)
        _check_calibration(self.calibration)
        reads = {status: _reads(self, curve) for status, curve in self.hazards.items()}
        object.__setattr__(self, "_reads", reads)

    def interval(self, status: str, age: float) -> float:
        """Return the seconds from `age` (seconds, not negative) of `status` to its next read."""
        reads = self._reads.get(status)
        return (reads or self._reads[ANY_STATUS]).until_next(age)

    def ideal_interval(self, status: str, age: float) -> float:
        """Return the seconds between two reads at `age` by Keller's law alone, without the cap.

        Infinite if a read has no value.
        """
        interval = self.interval(status, age)
        if interval < self.cap.total_seconds() * CAPPED_FROM:
            return interval
        curve = self.hazards.get(status, self.hazards[ANY_STATUS])
        density = self.scale * math.sqrt(curve[bisect_right(self.ages, age) - 1])
        return max(1 / density, interval) if density else math.inf

    def for_requests(self, requests: float) -> Self:
        """Return this policy, scaled to `requests` per payment session on average.

        Raises:
            ValueError: the policy is not calibrated for it; the text names the range.
        """
        lowest, highest = self.calibration[0][1], self.calibration[-1][1]
        if not lowest <= requests <= highest:
            raise ValueError(
                f"must be from {math.ceil(lowest)} to {math.floor(highest)}, "
                f"the requests per session that the policy {self.name} is calibrated for"
            )
        return replace(self, scale=_scale_for(requests, self.calibration))


@dataclass(frozen=True, slots=True)
class _Reads:
    """The number of reads up to each age: the integral of their density, bin by bin."""

    ages: Sequence[float]
    densities: Sequence[float]
    sums: Sequence[float]

    def until_next(self, age: float) -> float:
        """Return the seconds until one more read is due, including later changes of the density."""
        here = bisect_right(self.ages, age) - 1
        due = self.sums[here] + (age - self.ages[here]) * self.densities[here] + 1
        there = bisect_right(self.sums, due) - 1
        return self.ages[there] + (due - self.sums[there]) / self.densities[there] - age


def _reads(policy: PollPolicy, hazards: Sequence[float]) -> _Reads:
    rarest, densest = 1 / policy.cap.total_seconds(), 1 / policy.floor.total_seconds()
    densities = [max(rarest, min(policy.scale * math.sqrt(h), densest)) for h in hazards]
    sums = [0.0]
    for (begin, end), density in zip(pairwise(policy.ages), densities, strict=False):
        sums.append(sums[-1] + (end - begin) * density)
    return _Reads(policy.ages, densities, sums)


def _scale_for(requests: float, calibration: Sequence[tuple[float, float]]) -> float:
    """Interpolate between the two neighbours, with both axes logarithmic."""
    above = next(i for i, (_, needed) in enumerate(calibration) if i and requests <= needed)
    (scale_0, requests_0), (scale_1, requests_1) = calibration[above - 1 : above + 1]
    share = math.log(requests / requests_0) / math.log(requests_1 / requests_0)
    return scale_0 * math.pow(scale_1 / scale_0, share)


def _check_bounds(policy: PollPolicy) -> None:
    if not 0 < policy.scale < math.inf:
        raise InvalidPolicyError("scale", "must be above 0 and finite")
    if policy.floor < timedelta(milliseconds=100):
        raise InvalidPolicyError("floor_seconds", "must be at least 0.1")
    if policy.cap < policy.floor:
        raise InvalidPolicyError("cap_seconds", "must be at least floor_seconds")
    if not policy.ages or policy.ages[0] != 0:
        raise InvalidPolicyError("ages", "must begin with 0")
    if not (_ascend(policy.ages) and math.isfinite(policy.ages[-1])):
        raise InvalidPolicyError("ages", "must ascend, each above the one before")


def _check_curves(policy: PollPolicy) -> None:
    for status, curve in policy.hazards.items():
        if len(curve) != len(policy.ages):
            reason = f"has {len(curve)} values for {len(policy.ages)} ages"
            raise InvalidPolicyError("hazard", reason, status=status)
        if not all(0 <= hazard < math.inf for hazard in curve):
            raise InvalidPolicyError("hazard", "must not be negative, and finite", status=status)
    if ANY_STATUS not in policy.hazards:
        raise InvalidPolicyError("status", f"no line is for {ANY_STATUS!r}, every other status")


def _check_calibration(calibration: Sequence[tuple[float, float]]) -> None:
    fewest = 2
    if len(calibration) < fewest:
        raise InvalidPolicyError("calibration", "must have two pairs at least")
    for column in zip(*calibration, strict=True):
        if not (column[0] > 0 and _ascend(column) and math.isfinite(column[-1])):
            reason = "must be pairs above 0, scale and requests both ascending"
            raise InvalidPolicyError("calibration", reason)


def _ascend(values: Sequence[float]) -> bool:
    return all(before < after for before, after in pairwise(values))
