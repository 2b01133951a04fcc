"""The port for metrics: what is counted and measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Waiting items and the age of the oldest; `under_way` of them are leased."""

    count: int = 0
    oldest_seconds: float = 0.0
    under_way: int = 0

    def __add__(self, other: Waiting) -> Waiting:
        """Both together."""
        return Waiting(
            count=self.count + other.count,
            oldest_seconds=max(self.oldest_seconds, other.oldest_seconds),
            under_way=self.under_way + other.under_way,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFigures:
    """The backlog of one sink; `dead_lettered` counts the last 24 hours."""

    waiting: Waiting
    dead_lettered: int = 0
    disabled: bool = False

    def __add__(self, other: SinkFigures) -> SinkFigures:
        """Both together."""
        return SinkFigures(
            waiting=self.waiting + other.waiting,
            dead_lettered=self.dead_lettered + other.dead_lettered,
            disabled=self.disabled or other.disabled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFigures:
    """The state of one account; `budget` is in reads a second."""

    budget: float
    share: float
    interval_multiplier: float
    paused: bool
    breaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFigures:
    """Refused messages that need a person: they wait for one, or were retried for 10 minutes."""

    waiting: int = 0
    retried_in_vain: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """The running processes of one role, and how long ago one was last seen; infinite: never."""

    running: int = 0
    seen_seconds: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFigures:
    """Processes by role, and for how long each queue's next message has been the same."""

    processes: Mapping[str, ProcessFigures] = field(default_factory=dict)
    unchanged_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The work that waits in the database, at one time.

    `unconfirmed` is by the minutes that an authorization has left: up to 5, 10, 20, 60. `lapsed`
    counts the last 24 hours. `undelivered` counts payments that some sink has waited for for 10 s.
    `refused` and `deployment` are None where they cannot be read: before their migration, or
    without the right.
    """

    due: Mapping[str, Waiting] = field(default_factory=dict)
    sinks: Mapping[str, SinkFigures] = field(default_factory=dict)
    unconfirmed: Mapping[str, int] = field(default_factory=dict)
    lapsed: int = 0
    undelivered: int = 0
    refused: RefusedFigures | None = None
    deployment: DeploymentFigures | None = None


class Meter:
    """Methods do nothing unless a subclass overrides them. None may raise or wait.

    Subclasses bound the values of labels.
    """

    def tracked(self, effect: str) -> None:
        """Count a `track` message."""

    def argument_left_out(self, field: str) -> None:
        """A session was tracked without a wrong optional argument."""

    def message_refused(self, task: str, field: str, *, kept: bool) -> None:
        """A message was not taken in; `kept`: it is among the refused messages."""

    def message_dropped(self) -> None:
        """A message that cannot be read as one was dropped."""

    def request_started(self, account: str, *, lag_seconds: float) -> None:
        """Measure how long after its due time a request to Klarna is sent."""

    def request_finished(self, account: str, outcome: str, *, seconds: float) -> None:
        """Count and time a request to Klarna: `outcome` is `ok` or an error's label."""

    def polled(self, account: str, result: str) -> None:
        """Count a recorded poll: `result` is a finding, or the label of its error."""

    def status_changed(self, account: str, status: str, *, delay_seconds: float | None) -> None:
        """Count a recorded status change; the delay is None if it is not known."""

    def finished(self, account: str, outcome: str) -> None:
        """Count a payment session that ended."""

    def anomaly(self, kind: str) -> None:
        """Count a recorded anomaly."""

    def answer_field_ignored(self, field: str) -> None:
        """Count an invalid field of a Klarna answer that counts as absent."""

    def leases_lost(self, stage: str, count: int = 1) -> None:
        """Count leases that another process has: before the `load` or before the `record`."""

    def delivered(self, sink: str, *, age_seconds: float) -> None:
        """Count a delivery and measure the time since the event was first due."""

    def not_delivered(self, sink: str, *, dead: bool) -> None:
        """Count a failed delivery; `dead`: it is not retried."""

    def token_unreadable(self) -> None:
        """Count a stored authorization token that no key decrypts."""

    def tokens_erased(self, *, delivered: int, undelivered: int) -> None:
        """Count erased authorization tokens."""

    def ticked(self, *, ok: bool) -> None:
        """Count a tick of beat."""

    def queues(self, waiting: Mapping[str, int]) -> None:
        """Set the number of messages in the worker's own queues."""

    def accounts(self, figures: Mapping[str, AccountFigures]) -> None:
        """Set each account's figures."""

    def backlog(self, figures: Backlog) -> None:
        """Set the backlog in the database."""

    def backlog_unknown(self) -> None:
        """Remove the backlog's figures: the last ones are too old."""

    def loop_lagged(self, seconds: float) -> None:
        """Measure the event loop's lag."""


class NullMeter(Meter):
    """Counts nothing."""


NULL_METER = NullMeter()
