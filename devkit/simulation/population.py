"""Random payment sessions of assumed populations; not from production data.

Deterministic by seed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from devkit.simulation.traces import Trace

WAITING, IN_PROGRESS, COMPLETED = "WAITING", "IN_PROGRESS", "COMPLETED"
LIFETIME_SECONDS = 47 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Assumed behaviour of customers; times in seconds, spreads of a log-normal distribution.

    Most are sent to the page by the shop (`web_share`) and open it at once; the others get a link
    by mail or SMS, and some never open it. Some of those who opened it complete.
    """

    web_share: float = 0.9
    web_opens_after: float = 4.0
    web_completes: float = 0.62
    link_opens: float = 0.6
    link_opens_median: float = 2400.0
    link_opens_spread: float = 1.4
    link_completes: float = 0.75
    completes_median: float = 100.0
    completes_spread: float = 0.85


# One that Klarna's flow suggests, and one that is slower and abandons more often.
POPULATIONS = {
    "assumed": Population(),
    "shifted": Population(
        web_share=0.8,
        web_opens_after=8.0,
        web_completes=0.45,
        link_opens=0.5,
        link_opens_median=7200.0,
        link_completes=0.6,
        completes_median=220.0,
        completes_spread=1.0,
    ),
}


def draw(name: str, sessions: int, *, seed: int) -> list[Trace]:
    """Return that many traces of the named population; the same for the same seed."""
    chance = random.Random(f"{name} {seed}")  # noqa: S311 - a simulation
    return [_trace(POPULATIONS[name], chance) for _ in range(sessions)]


def _trace(population: Population, chance: random.Random) -> Trace:
    """Random numbers are drawn in a fixed order, so that seeds stay comparable."""
    statuses = [(0.0, WAITING)]
    opened_at, completed_at = _times(population, chance)
    if opened_at <= LIFETIME_SECONDS:
        statuses.append((opened_at, IN_PROGRESS))
    if completed_at <= LIFETIME_SECONDS:
        statuses.append((completed_at, COMPLETED))
    return Trace(LIFETIME_SECONDS, tuple(statuses))


def _times(population: Population, chance: random.Random) -> tuple[float, float]:
    """Return when the customer opens the page and completes, in seconds; infinity is never."""
    if chance.random() < population.web_share:
        completes = population.web_completes
        opened_at = chance.expovariate(1 / population.web_opens_after)
    else:
        completes = population.link_completes
        opens = chance.random() < population.link_opens
        opened_at = (
            chance.lognormvariate(
                math.log(population.link_opens_median), population.link_opens_spread
            )
            if opens
            else math.inf
        )
    takes = chance.lognormvariate(
        math.log(population.completes_median), population.completes_spread
    )
    return opened_at, opened_at + takes if chance.random() < completes else math.inf
