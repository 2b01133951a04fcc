"""What an account's quota costs when twice as much is offered: delay, use of the budget, 429s.

Run: .venv/bin/python -m benchmarks.governor. A simulation by events over the assumed population of
all ages, deterministic by seed, with the worker's own policy, value order, budget and interval
multiplier.
Exit code 1 where a target is missed.
"""

from __future__ import annotations

import heapq
import math
import random
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from config.settings import SHIPPED_POLICY
from devkit.simulation.population import LIFETIME_SECONDS, draw
from devkit.simulation.replay import CREATED_AT
from devkit.simulation.traces import Trace, is_final
from worker.adapters.policy_file import read_policy
from worker.domain.account import AccountState
from worker.domain.quota import ReadQuotaConfig, burst, next_interval_multiplier
from worker.domain.schedule import PollLimits, ideal_interval, next_poll_at

# A tenth of everything: 400 reads a second offered, 200 allowed, and the shop's own use.
SCALE = 0.1
OFFERED, SHARE = 400 * SCALE, 0.75
LIMIT = 200 * SCALE / SHARE
SHOP = 0.2 * LIMIT
REQUESTS = 50
# As claim_statements looks at the longest due and at each doubling of lateness, in proportion.
LOOKED_AT, SAMPLED, BANDS = int(2000 * SCALE), int(300 * SCALE), 20
TICK = 0.1
RUN, WARM_UP, LAST = 3 * 3600.0, 1.2 * 3600.0, 1500.0
EXPIRY_GRACE = 30.0

MOST_TIMES_THE_DELAY = 3.0
LEAST_USE = 0.95


@dataclass(slots=True)
class Session:
    """A tracked session; times in seconds since the run began."""

    trace: Trace
    created: float
    next_poll: float
    last_read: float = -math.inf
    ideal: float = 1.0

    def lateness_ratio(self, now: float) -> float:
        """As in the claim: see `claim_sql`."""
        waited = now - self.last_read
        left = self.created + self.trace.lifetime - now
        soon_over = 0 <= left <= 120  # noqa: PLR2004 - seconds
        return waited / max(1.0, self.ideal) * (2 if soon_over else 1)


@dataclass(slots=True)
class Run:
    """One run, within a budget in reads a second, or without."""

    limits: PollLimits
    budget: float
    seed: int
    now: float = 0.0
    interval_multiplier: float = 1.0
    due: list[tuple[float, int]] = field(default_factory=list)
    backlog: list[tuple[float, int]] = field(default_factory=list)
    sessions: dict[int, Session] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    tokens_lost: int = 0
    reads: Counter[int] = field(default_factory=Counter)
    multipliers: list[float] = field(default_factory=list)

    def live(self) -> None:
        """Let the time of the run go by."""
        chance = random.Random(self.seed)  # noqa: S311 - a simulation
        arrivals = self._arrivals()
        coming = next(arrivals)
        acquired_until = noted_until = 0.0
        lowest, drained, exhausted = math.inf, False, False
        while self.now < RUN:
            self.now += TICK
            while coming[1].created <= self.now:
                self._enter(*coming, chance)
                coming = next(arrivals)
            while self.due and self.due[0][0] <= self.now:
                self.backlog.append(heapq.heappop(self.due))
            available = self._available(acquired_until)
            claimed = self._claim(available)
            drained, exhausted = (
                drained or len(claimed) < available,
                exhausted or len(claimed) >= available,
            )
            for ratio, number in claimed:
                lowest = min(lowest, ratio)
                self._read(number, chance)
            acquired_until = max(acquired_until, self.now) + len(claimed) / self.budget
            if self.now >= noted_until:
                noted_until = self.now + 1
                if drained or not exhausted or lowest < math.inf:
                    self.interval_multiplier = next_interval_multiplier(
                        self.interval_multiplier, lowest if not drained else None
                    )
                self.multipliers.append(self.interval_multiplier)
                lowest, drained, exhausted = math.inf, False, False

    def _arrivals(self) -> Iterator[tuple[int, Session]]:
        """Those who came before the run and are open yet, then those who come; evenly in time."""
        every = REQUESTS / OFFERED
        before = int(LIFETIME_SECONDS / every)
        for number, trace in enumerate(draw("assumed", before + int(RUN / every) + 2, seed=1)):
            created = (number - before) * every
            final_at = trace.final_at
            if created >= 0 or final_at is None or created + final_at > 0:
                yield number, Session(trace, created, max(created, 0.0))

    def _enter(self, number: int, session: Session, chance: random.Random) -> None:
        self.sessions[number] = session
        if session.created < 0:
            self._reschedule(session, 0.5)
            interval = session.next_poll - self.now
            session.next_poll = self.now + interval * chance.random()
            session.last_read = session.next_poll - interval
        heapq.heappush(self.due, (session.next_poll, number))

    def _available(self, acquired_until: float) -> int:
        if math.isinf(self.budget):
            return len(self.backlog)
        ahead = max(acquired_until - self.now, 0.0)
        return max(0, int(burst(self.budget) - ahead * self.budget + 1e-9))

    def _claim(self, available: int) -> list[tuple[float, int]]:
        if not available:
            return []
        worth = (
            (self.sessions[self.backlog[at][1]].lateness_ratio(self.now), at)
            for at in self._looked_at()
        )
        best = heapq.nlargest(available, worth)
        claimed = [(ratio, self.backlog[at][1]) for ratio, at in best]
        for at in sorted((at for _, at in best), reverse=True):
            del self.backlog[at]
        return claimed

    def _looked_at(self) -> Collection[int]:
        if len(self.backlog) <= LOOKED_AT:
            return range(len(self.backlog))
        looked_at = set(range(LOOKED_AT))
        for band in range(BANDS):
            far = bisect_left(self.backlog, (self.now - 0.25 * 2**band, 0))
            near = self.now - (0.125 * 2**band if band else 0.0)
            last = bisect_left(self.backlog, (near, sys.maxsize))
            looked_at.update(range(far, min(far + SAMPLED, last)))
        return looked_at

    def _read(self, number: int, chance: random.Random) -> None:
        session = self.sessions[number]
        self.reads[int(self.now)] += 1
        age = self.now - session.created
        final_at = session.trace.final_at
        if final_at is not None and final_at <= age:
            if WARM_UP <= session.created + final_at < RUN - LAST:
                self.delays.append(age - final_at)
                self.tokens_lost += age - final_at >= 3600  # noqa: PLR2004 - seconds
            del self.sessions[number]
        elif age >= session.trace.lifetime + EXPIRY_GRACE:
            del self.sessions[number]
        else:
            session.last_read = self.now
            self._reschedule(session, chance.random())
            heapq.heappush(self.due, (session.next_poll, number))

    def _reschedule(self, session: Session, jitter: float) -> None:
        age = self.now - session.created
        begun, status = max(change for change in session.trace.statuses if change[0] <= age)
        assert not is_final(status)  # noqa: S101 - it would have ended
        now = CREATED_AT + timedelta(seconds=self.now)
        since = CREATED_AT + timedelta(seconds=session.created + begun)
        end = session.created + session.trace.lifetime + EXPIRY_GRACE
        at = next_poll_at(
            status,
            since=since,
            now=now,
            final_read_at=CREATED_AT + timedelta(seconds=end),
            jitter=jitter,
            limits=self.limits,
            interval_multiplier=self.interval_multiplier,
        )
        session.next_poll = (at - CREATED_AT).total_seconds()
        session.ideal = ideal_interval(status, since=since, now=now, limits=self.limits)

    @property
    def rate(self) -> float:
        """Reads a second, once it is warm."""
        seconds = range(int(WARM_UP), int(RUN))
        return sum(self.reads[second] for second in seconds) / len(seconds)

    @property
    def limited(self) -> float:
        """Reads beyond Klarna's limit a second, the shop's included: each would be a 429."""
        seconds = range(int(WARM_UP), int(RUN))
        return sum(max(0.0, self.reads[second] + SHOP - LIMIT) for second in seconds)

    @property
    def mean_delay(self) -> float:
        """In seconds, from COMPLETED to the read that saw it."""
        return sum(self.delays) / len(self.delays)


def main() -> int:
    """Return the exit code."""
    policy = read_policy(SHIPPED_POLICY).for_requests(REQUESTS)
    limits = PollLimits(policy=policy, expiry_grace=timedelta(seconds=EXPIRY_GRACE))
    budget = ReadQuotaConfig(limit=LIMIT, share=SHARE).budget(AccountState(), CREATED_AT)
    free, governed = (Run(limits, each, seed=1) for each in (math.inf, budget))
    for run in (free, governed):
        run.live()
        _tell(run)
    times, use = governed.mean_delay / free.mean_delay, governed.rate / budget
    say = sys.stdout.write
    say(f"offered {free.rate / SCALE:.0f}/s, budget {budget / SCALE:.0f}/s\n")
    say(f"429s in steady state: {governed.limited:.0f} (0)\n")
    say(f"budget used: {use:.1%} (at least {LEAST_USE:.0%})\n")
    say(f"mean delay: {times:.2f} times as long (at most {MOST_TIMES_THE_DELAY:g})\n")
    missed = governed.limited > 0 or use < LEAST_USE or times > MOST_TIMES_THE_DELAY
    return int(missed)


def _tell(run: Run) -> None:
    run.delays.sort()
    p95 = run.delays[int(len(run.delays) * 0.95)]
    warm = run.multipliers[int(WARM_UP) :]
    sys.stdout.write(
        f"{run.rate / SCALE:5.0f} reads/s: delay mean {run.mean_delay:.1f} s, p95 {p95:.0f} s of "
        f"{len(run.delays)} completions, {run.tokens_lost} of them too late; "
        f"multiplier {min(warm):.2f} to {max(warm):.2f}, "
        f"{len(run.backlog) / SCALE:.0f} wait at the end\n"
    )


if __name__ == "__main__":
    sys.exit(main())
