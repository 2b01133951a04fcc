"""Finds the setting of a schedule for a number of requests per session, by replaying."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from devkit.simulation.baselines import by_policy
from devkit.simulation.replay import Replay, Schedule, replay
from devkit.simulation.traces import Trace, evenly
from worker.domain.policy import PollPolicy

# Scales of a calibration differ by this factor. Where one takes hardly more requests than the one
# before, the bounds of the intervals decide, and no longer the scale.
_STEP = 1.35
_LEAST_RISE = 1.02
_MOST_STEPS = 40
# No calibration goes beyond this: it would take long.
MOST_REQUESTS = 200.0

_SAMPLE = 2_000
_MANY = 15_000
_HALVINGS = 14
_SLOPE_STEP = 1.1
_REFINEMENTS = 3
_TOLERANCE = 0.003


def calibrate(policy: PollPolicy, traces: Sequence[Trace]) -> tuple[tuple[float, float], ...]:
    """Return pairs of a scale and the requests per session that the policy takes at it.

    Replays all of `traces`: from where the cap allows no fewer requests to MOST_REQUESTS, or to
    where the floor allows no more.
    """

    def pair(exponent: int) -> tuple[float, float]:
        scale = policy.scale * _STEP**exponent
        return scale, _requests(by_policy(replace(policy, scale=scale)), traces)

    pairs = [pair(0)]
    for exponent in range(-1, -_MOST_STEPS, -1):
        pairs.insert(0, pair(exponent))
        if pairs[1][1] < pairs[0][1] * _LEAST_RISE:
            break
    for exponent in range(1, _MOST_STEPS):
        if pairs[-1][1] >= MOST_REQUESTS or pairs[-1][1] < pairs[-2][1] * _LEAST_RISE:
            break
        pairs.append(pair(exponent))
    return _rising(pairs)


def tuned(family: Callable[[float], Schedule], requests: float, traces: Sequence[Trace]) -> Replay:
    """Return the replay of the schedule of `family` that takes so many requests per session.

    Or of the nearest one. The family's parameter is above 0 and about 1; a greater one takes more
    requests.
    """
    parameter, steepness = _bisected(family, requests, evenly(traces, _SAMPLE))
    for lives in (evenly(traces, _MANY), traces):
        made = replay(lives, family(parameter))
        for _ in range(_REFINEMENTS):
            missing = math.log(requests / made.requests_per_session)
            if abs(missing) <= _TOLERANCE:
                break
            parameter *= math.exp(missing / steepness)
            made = replay(lives, family(parameter))
    return made


def _bisected(
    family: Callable[[float], Schedule], requests: float, traces: Sequence[Trace]
) -> tuple[float, float]:
    """Return the parameter, and by how many per cent requests rise with one per cent of it."""
    low, high = 1e-3, 1e3
    for _ in range(_HALVINGS):
        parameter = math.sqrt(low * high)
        reads = _requests(family(parameter), traces)
        low, high = (low, parameter) if reads > requests else (parameter, high)
    risen = _requests(family(parameter * _SLOPE_STEP), traces)
    return parameter, max(math.log(risen / reads) / math.log(_SLOPE_STEP), 0.1)


def _requests(schedule: Schedule, traces: Sequence[Trace]) -> float:
    return replay(traces, schedule).requests_per_session


def _rising(pairs: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    rising = [pairs[0]]
    for pair in pairs[1:]:
        if pair[1] >= rising[-1][1] * _LEAST_RISE:
            rising.append(pair)
    return tuple(rising)
