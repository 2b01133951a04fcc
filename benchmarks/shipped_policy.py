"""Writes config/poll_policy.jsonl, the shipped policy: optimal for the assumed population.

    python -m benchmarks.shipped_policy

Its hazards are computed, not estimated, from what devkit/simulation/population.py assumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from config.settings import SHIPPED_POLICY
from devkit.simulation.comparison import blind_policy
from devkit.simulation.population import COMPLETED, IN_PROGRESS, POPULATIONS, WAITING, draw
from devkit.simulation.read_values import effective_hazards
from devkit.simulation.tuning import calibrate
from worker.adapters.policy_file import write_policy
from worker.domain.policy import ANY_STATUS, PollPolicy

# Seconds: 0, then 4 s to two days, each bin 15 % longer than the one before.
AGES = (0.0, *(float(f"{4 * 1.15**step:.4g}") for step in range(77)))
# About the scale of 50 requests per session, the default; at 80 it is good, too.
SCALE = 1.1
SESSIONS = 6_000
SEED = 2_026

# Assumed, not measured: the hazard of a status relative to IN_PROGRESS at the same age. A customer
# who went back, was declined or met an error may choose another way to pay, and few do; one whose
# identity is checked by hand waits for Klarna's staff.
ASSUMED_SHARES = {
    "BACK": 0.3,
    "FAILED": 0.2,
    "ERROR": 0.3,
    "MANUAL_ID_CHECK": 0.5,
    ANY_STATUS: 0.3,
}
# A KP session does not show that it was opened: its hazard is that of the whole population.
KP_OPEN = "incomplete"

# Customers who came by a link behave differently from those the shop sent. They are separate
# statuses here; the policy cannot distinguish them and has one curve for both.
_FROM_SHOP, _FROM_LINK = "IN_PROGRESS, from the shop", "IN_PROGRESS, from a link"


def main() -> None:
    """Compute the policy, calibrate it on the assumed population, and write it."""
    traces = draw("assumed", SESSIONS, seed=SEED)
    policy = PollPolicy(
        name="shipped",
        ages=AGES,
        hazards=_hazards(),
        calibration=((0.1, 1), (1, 2)),
        floor=timedelta(seconds=2),
        cap=timedelta(minutes=40),
    )
    blind = blind_policy(policy, draw("assumed", 50_000, seed=SEED)).hazards[ANY_STATUS]
    policy = replace(policy, hazards=dict(policy.hazards) | {KP_OPEN: blind})
    write_policy(SHIPPED_POLICY, replace(policy, calibration=calibrate(policy, traces)))


def _hazards() -> dict[str, tuple[float, ...]]:
    found = effective_hazards(_rates(), AGES, scale=SCALE)
    known = {WAITING: found[WAITING], IN_PROGRESS: found[IN_PROGRESS]}
    assumed = {
        status: tuple(share * hazard for hazard in found[IN_PROGRESS])
        for status, share in ASSUMED_SHARES.items()
    }
    return known | assumed


def _rates() -> dict[str, dict[str, tuple[float, ...]]]:
    """Rates of each change of status, in each bin of ages."""
    of = POPULATIONS["assumed"]
    link_share = (1 - of.web_share) * of.link_opens
    completes = (of.web_share * of.web_completes + link_share * of.link_completes) / (
        of.web_share + link_share
    )

    def from_shop(age: float) -> float:
        return of.web_share * -math.expm1(-age / of.web_opens_after)

    def from_link(age: float) -> float:
        return link_share * _log_normal(age, of.link_opens_median, of.link_opens_spread)

    def completed(age: float) -> float:
        return _log_normal(age, of.completes_median, of.completes_spread)

    def waiting(age: float) -> float:
        return 1 - from_shop(age) - from_link(age)

    def completing(share: float) -> dict[str, tuple[float, ...]]:
        def done(age: float) -> float:
            return share * completed(age)

        return {COMPLETED: _rate(done, lambda age: 1 - done(age))}

    return {
        WAITING: {_FROM_SHOP: _rate(from_shop, waiting), _FROM_LINK: _rate(from_link, waiting)},
        _FROM_SHOP: completing(of.web_completes),
        _FROM_LINK: completing(of.link_completes),
        IN_PROGRESS: completing(completes),
    }


def _rate(gone: Callable[[float], float], left: Callable[[float], float]) -> tuple[float, ...]:
    """Rate per second in each bin; `gone` and `left` are shares of all, by age."""
    return tuple(
        max(0.0, gone(end) - gone(begin)) / ((end - begin) * _mean(left, begin, end))
        for begin, end in pairwise((*AGES, AGES[-1] * 1.15))
    )


def _mean(of: Callable[[float], float], begin: float, end: float, steps: int = 20) -> float:
    points: Sequence[float] = [begin + (end - begin) * (i + 0.5) / steps for i in range(steps)]
    return sum(map(of, points)) / steps


def _log_normal(age: float, median: float, spread: float) -> float:
    """Return the cumulative distribution at `age`."""
    return 0.5 * math.erfc(-math.log(age / median) / (spread * math.sqrt(2))) if age else 0.0


if __name__ == "__main__":
    main()
