"""The schedules that are compared: the worker's own, and what others would write."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from devkit.simulation.replay import CREATED_AT, Read, Schedule
from worker.domain.policy import ANY_STATUS, PollPolicy
from worker.domain.schedule import JITTER_SHARE, PollLimits, next_poll_at

FIRST_INTERVAL = 5.0
LONGEST_INTERVAL = 2400.0


def by_policy(policy: PollPolicy) -> Schedule:
    """The worker's own, by its very `next_poll_at`."""
    limits = PollLimits(policy=policy)

    def schedule(read: Read) -> datetime:
        return next_poll_at(
            read.status,
            since=read.since,
            now=read.now,
            final_read_at=read.final_read_at,
            jitter=read.jitter,
            limits=limits,
        )

    return schedule


def blind(policy: PollPolicy) -> Schedule:
    """The same law, of the session's age alone: it does not look at the status."""
    aware = by_policy(policy)

    def schedule(read: Read) -> datetime:
        return aware(replace(read, status=ANY_STATUS, since=CREATED_AT))

    return schedule


def fixed(pace: float) -> Schedule:
    """Every half hour divided by `pace`, never rarer than every 40 minutes."""
    interval = min(1800 / pace, LONGEST_INTERVAL)
    return exponential(1.0, interval, interval)


def exponential(factor: float, first: float, longest: float) -> Schedule:
    """`first` seconds after the first read, then `factor` times as long each, up to `longest`."""

    def schedule(read: Read) -> datetime:
        spread = 1 - JITTER_SHARE + 2 * JITTER_SHARE * read.jitter
        wait = timedelta(seconds=min(first * factor ** min(read.reads - 1, 1000), longest) * spread)
        return min(read.now + wait, read.final_read_at)

    return schedule


def exponential_at(factor: float, pace: float) -> Schedule:
    """From 5 s up to half an hour divided by `pace`.

    Where that is more than the 40 minutes that none may exceed: up to these, from more than 5 s.
    """
    slowness = 1800 / pace
    first = FIRST_INTERVAL * max(1.0, slowness / LONGEST_INTERVAL)
    return exponential(factor, first, max(first, min(slowness, LONGEST_INTERVAL)))
