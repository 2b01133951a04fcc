"""Fits a policy to recorded payment sessions; shrinks it to a prior where data are few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from devkit.simulation.em_estimation import estimate
from devkit.simulation.hazards import Counts, certain_counts
from devkit.simulation.read_values import effective_hazards
from devkit.simulation.sojourns import Floats, Sojourns, sojourns_of_traces
from devkit.simulation.traces import Trace, evenly, is_final
from devkit.simulation.tuning import MOST_REQUESTS, calibrate
from worker.domain.policy import ANY_STATUS, PollPolicy

# The prior weighs as much as this many changes in each bin: with ten seen there, or
# expected by the prior, the data count five sixths.
PRIOR_CHANGES = 2.0
# Traces replayed for the calibration; the result is scaled to all traces.
_REPLAYED = 200
_ROUNDS = 3


def fit(
    sojourns: Sojourns, traces: Sequence[Trace], *, prior: PollPolicy, requests: float
) -> PollPolicy:
    """Return a policy with the hazards of `sojourns`, optimal at so many requests per session.

    Ages, floor and cap are the prior's, as is the curve of each status that no session left. It is
    calibrated on `traces`.

    Raises:
        ValueError: the message has the range of requests that floor and cap allow for these traces.
    """
    lived = Lived.of(traces, prior.ages)
    _check_in_reach(requests, lived, prior)
    seen = estimate(sojourns, prior.ages)
    policy = replace(prior, name="fitted")
    for _ in range(_ROUNDS):
        policy = lived.scaled(policy, requests)
        policy = replace(policy, hazards=_hazards(seen, prior, scale=policy.scale))
    return replace(policy, scale=1.0, calibration=_calibration(policy, traces, lived))


@dataclass(frozen=True, slots=True)
class Lived:
    """The time that sessions spent in each status, by age."""

    stays: Counts
    sessions: int

    @classmethod
    def of(cls, traces: Sequence[Trace], ages: Sequence[float]) -> Lived:
        """Return the times of the traces."""
        return cls(certain_counts(sojourns_of_traces(traces), ages), len(traces))

    def requests(self, policy: PollPolicy, scale: float) -> float:
        """Return the mean reads per session: the first, and all that become due."""
        rarest, densest = 1 / policy.cap.total_seconds(), 1 / policy.floor.total_seconds()
        worth = np.sqrt([_curve(policy, status) for status in self.stays.names])
        due = self.stays.stayed * np.clip(scale * worth, rarest, densest)
        return 1 + float(due.sum()) / self.sessions

    def scaled(self, policy: PollPolicy, requests: float) -> PollPolicy:
        """Return the policy at the scale that takes that number of requests, or the nearest."""
        low, high = 1e-6, 1e6
        for _ in range(60):
            scale = math.sqrt(low * high)
            low, high = (low, scale) if self.requests(policy, scale) > requests else (scale, high)
        return replace(policy, scale=scale)


def _check_in_reach(requests: float, lived: Lived, prior: PollPolicy) -> None:
    """Raise ValueError where floor and cap do not allow that number of requests."""
    # One more: the read after the expiry.
    lowest, highest = lived.requests(prior, 0.0) + 1, lived.requests(prior, 1e6)
    if not lowest < requests < highest:
        floor, cap = prior.floor.total_seconds(), prior.cap.total_seconds()
        highest = min(highest, MOST_REQUESTS)
        raise ValueError(
            f"must be from {math.ceil(lowest)} to {math.floor(highest)} for these sessions, "
            f"which are read every {floor:g} to {cap:g} s"
        )


def _calibration(
    policy: PollPolicy, traces: Sequence[Trace], lived: Lived
) -> tuple[tuple[float, float], ...]:
    """Replay a few traces, and scale their requests to all traces."""
    few = evenly(list(traces), _REPLAYED)
    of_few = Lived.of(few, policy.ages)
    return tuple(
        (scale, reads * lived.requests(policy, scale) / of_few.requests(policy, scale))
        for scale, reads in calibrate(policy, few)
    )


def _hazards(seen: Counts, prior: PollPolicy, *, scale: float) -> dict[str, tuple[float, ...]]:
    rates = _rates(seen)
    effective = effective_hazards(
        rates,
        prior.ages,
        scale=scale,
        floor=prior.floor.total_seconds(),
        cap=prior.cap.total_seconds(),
    )
    fitted = {
        status: shrunk(
            effective[status],
            _curve(prior, status),
            exits=seen.exits[seen.names.index(status)].sum(axis=0),
            stayed=seen.stayed[seen.names.index(status)],
        )
        for status in rates
    }
    return dict(prior.hazards) | fitted


def shrunk(
    hazards: Sequence[float], prior: Sequence[float], *, exits: Floats, stayed: Floats
) -> tuple[float, ...]:
    """Return the hazards per bin, (h·T + p·m) / (T + m): h seen in the time T, p the prior's.

    The prior's time m is such that it is worth `PRIOR_CHANGES` changes at the greater of the two
    rates: the data win where the prior expects hundreds and none came, and in the opposite case.
    """
    return tuple(
        (known * hazard + PRIOR_CHANGES * before) / (known + PRIOR_CHANGES)
        for hazard, before, known in zip(hazards, prior, _known(prior, exits, stayed), strict=True)
    )


def _known(prior: Sequence[float], exits: Floats, stayed: Floats) -> list[float]:
    """Return the number of changes in each bin: seen or expected, whichever is more."""
    return [
        max(seen, time * expected)
        for seen, time, expected in zip(exits.tolist(), stayed.tolist(), prior, strict=True)
    ]


def _rates(seen: Counts) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return the hazards of each status that was left, by next status."""
    hazards = seen.hazards()
    return {
        status: {
            exit_to: tuple(hazards[here, there].tolist())
            for there, exit_to in enumerate(seen.names)
            if seen.exits[here, there].sum() > 0
        }
        for here, status in enumerate(seen.names)
        if not is_final(status) and seen.exits[here].sum() > 0
    }


def _curve(policy: PollPolicy, status: str) -> Sequence[float]:
    return policy.hazards.get(status, policy.hazards[ANY_STATUS])
