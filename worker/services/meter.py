"""What is counted and measured of the work, as a port; this one counts nothing and costs nothing.

An adapter overrides it. Labels that it is given are bounded there, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits, and how long its oldest has; `under_way` of it is leased."""

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
    """How one sink is doing; `died` counts the last day's."""

    waiting: Waiting
    died: int = 0
    disabled: bool = False

    def __add__(self, other: SinkFigures) -> SinkFigures:
        """Both together."""
        return SinkFigures(
            waiting=self.waiting + other.waiting,
            died=self.died + other.died,
            disabled=self.disabled or other.disabled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFigures:
    """How one account is doing; `budget` is in reads a second."""

    budget: float
    share: float
    stretch: float
    paused: bool
    breaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What the database holds for somebody to do, at one time.

    `unconfirmed` is by the minutes that an authorization has left: up to 5, 10, 20, 60. `lapsed`
    are those of the last day. `untold` are payments that some sink has not been told of for 10 s.
    """

    due: Mapping[str, Waiting] = field(default_factory=dict)
    sinks: Mapping[str, SinkFigures] = field(default_factory=dict)
    unconfirmed: Mapping[str, int] = field(default_factory=dict)
    lapsed: int = 0
    untold: int = 0


class Meter:
    """Each method says what happened; none may raise or wait."""

    def tracked(self, effect: str) -> None:
        """A shop's message was taken in."""

    def argument_left_out(self, field: str) -> None:
        """A session was tracked without a wrong optional argument."""

    def message_refused(self, task: str, field: str, *, kept: bool) -> None:
        """A message was not taken in; `kept`: it is among the refused messages."""

    def message_dropped(self) -> None:
        """A message that cannot be read as one was dropped."""

    def asked(self, account: str, *, lag_seconds: float) -> None:
        """A request leaves, so long after it was due."""

    def answered(self, account: str, outcome: str, *, seconds: float) -> None:
        """Klarna answered, or not: `outcome` is `ok` or an error's label."""

    def polled(self, account: str, result: str) -> None:
        """A poll was recorded: a finding, or the label of the error it met."""

    def changed(self, account: str, status: str, *, delay_seconds: float | None) -> None:
        """A status change was recorded; the delay is None where it is not known."""

    def finished(self, account: str, outcome: str) -> None:
        """A payment session came to its end."""

    def anomaly(self, kind: str) -> None:
        """Something that is worth somebody's attention was recorded."""

    def leases_lost(self, stage: str, count: int = 1) -> None:
        """Somebody else has the lease, before the `load` or before the `record`."""

    def delivered(self, sink: str, *, age_seconds: float) -> None:
        """A sink took an event, so long after it was first due."""

    def not_delivered(self, sink: str, *, dead: bool) -> None:
        """A sink did not take an event; `dead`: it is not tried again."""

    def token_unreadable(self) -> None:
        """No key decrypts a stored authorization token."""

    def tokens_erased(self, *, delivered: int, undelivered: int) -> None:
        """Authorization tokens ran out, or were spent."""

    def ticked(self, *, ok: bool) -> None:
        """Beat's tick ended."""

    def queues(self, waiting: Mapping[str, int]) -> None:
        """So many messages wait in the worker's own queues."""

    def accounts(self, figures: Mapping[str, AccountFigures]) -> None:
        """How each account is doing now."""

    def backlog(self, figures: Backlog) -> None:
        """What the database holds now."""

    def backlog_unknown(self) -> None:
        """Nobody could look for a while: what was told last may be long over."""

    def loop_lagged(self, seconds: float) -> None:
        """The event loop came so much later than it was asked to."""


NULL_METER = Meter()
