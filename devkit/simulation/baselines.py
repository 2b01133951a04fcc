"""The schedules that are compared: the worker's own, and common alternatives."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from devkit.simulation.replay import CREATED_AT, Read, Schedule
from worker.domain.policy import ANY_STATUS, PollPolicy
from worker.domain.schedule import JITTER_SHARE, PollLimits, next_poll_at

FIRST_INTERVAL = 5.0
LONGEST_INTERVAL = 2400.0


def by_policy(policy: PollPolicy) -> Schedule:
    """Return the worker's own schedule, which calls its `next_poll_at`."""
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
    """Return the same schedule by the session's age alone, whatever its status."""
    aware = by_policy(policy)

    def schedule(read: Read) -> datetime:
        return aware(replace(read, status=ANY_STATUS, since=CREATED_AT))

    return schedule


def fixed(pace: float) -> Schedule:
    """Return a fixed interval: half an hour divided by `pace`, 40 minutes at most."""
    interval = min(1800 / pace, LONGEST_INTERVAL)
    return exponential(1.0, interval, interval)


def exponential(factor: float, first: float, longest: float) -> Schedule:
    """Return intervals of `first` seconds, each `factor` times the one before, up to `longest`."""

    def schedule(read: Read) -> datetime:
        spread = 1 - JITTER_SHARE + 2 * JITTER_SHARE * read.jitter
        wait = timedelta(seconds=min(first * factor ** min(read.reads - 1, 1000), longest) * spread)
        return min(read.now + wait, read.final_read_at)

    return schedule


def exponential_at(factor: float, pace: float) -> Schedule:
    """Return intervals from 5 s up to half an hour divided by `pace`.

    If that is more than 40 minutes: up to 40 minutes, and from more than 5 s.
    """
    slowness = 1800 / pace
    first = FIRST_INTERVAL * max(1.0, slowness / LONGEST_INTERVAL)
    return exponential(factor, first, max(first, min(slowness, LONGEST_INTERVAL)))
