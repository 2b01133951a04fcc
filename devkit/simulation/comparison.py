"""Compares a policy with other schedules, each tuned to the same number of requests."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from devkit.simulation.baselines import blind, by_policy, exponential_at, fixed
from devkit.simulation.replay import Replay, Schedule
from devkit.simulation.traces import Trace
from devkit.simulation.tuning import tuned
from worker.domain.policy import ANY_STATUS, PollPolicy

SOON_SECONDS = 10.0
# By name: schedules with one parameter, about 1; a greater one takes more requests.
Families = dict[str, Callable[[float], Schedule]]


@dataclass(frozen=True, slots=True)
class Row:
    """One schedule at one number of requests, and its replay."""

    schedule: str
    wanted: float
    made: Replay

    def figures(self) -> dict[str, object]:
        """Return the printed figures by name; delays are seconds from final status to read."""
        return {
            "schedule": self.schedule,
            "requests_per_session": self.made.requests_per_session,
            "mean_delay_seconds": self.made.mean_delay,
            "p50": self.made.percentile(50),
            "p95": self.made.percentile(95),
            "p99": self.made.percentile(99),
            "within_10_s": self.made.within(SOON_SECONDS),
            "never_seen": self.made.never_seen_share,
        }


def compare(
    families: Families, traces: Sequence[Trace], requests: Sequence[float]
) -> Iterator[Row]:
    """Yield a row for each number of requests and each family."""
    for wanted in requests:
        for name, family in families.items():
            yield Row(name, wanted, tuned(family, wanted, traces))


def families(policy: PollPolicy, traces: Sequence[Trace]) -> Families:
    """Return the policy's family and the others; the blind one is fitted to the traces."""
    return {
        f"policy {policy.name}": partial(_scaled, by_policy, policy),
        "√hazard, blind to status": partial(_scaled, blind, blind_policy(policy, traces)),
        "exponential x1.1": partial(exponential_at, 1.1),
        "exponential x1.5": partial(exponential_at, 1.5),
        "exponential x2": partial(exponential_at, 2.0),
        "fixed": fixed,
    }


def blind_policy(policy: PollPolicy, traces: Sequence[Trace]) -> PollPolicy:
    """Return a policy with one curve for every status: the rate at which the traces become final.

    By age since creation: the sessions that ended in each bin, divided by the time spent in it,
    smoothed over neighbouring bins.
    """
    edges = (*policy.ages, float("inf"))
    ended = [0.02] * len(policy.ages)
    spent = [1.0] * len(policy.ages)
    for trace in traces:
        until = trace.lifetime if trace.final_at is None else trace.final_at
        last = bisect_right(policy.ages, until) - 1
        ended[last] += trace.final_at is not None
        for index in range(last + 1):
            spent[index] += min(until, edges[index + 1]) - edges[index]
    raw = [events / time for events, time in zip(ended, spent, strict=True)]
    padded = [raw[0], *raw, raw[-1]]
    curve = tuple((padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(len(raw)))
    return replace(policy, name="blind", hazards={ANY_STATUS: curve})


def _scaled(kind: Callable[[PollPolicy], Schedule], policy: PollPolicy, scale: float) -> Schedule:
    return kind(replace(policy, scale=scale))
