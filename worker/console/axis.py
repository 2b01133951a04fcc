"""The time axis of a payment session's drawing: linear while short, logarithmic beyond. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from worker.console.wording import DAY, HOUR, MINUTE, span

# Up to here the axis is linear. Beyond, a logarithm keeps room for the first minute.
_LINEAR_SECONDS = 2 * MINUTE
_BEND_SECONDS = 2.0
_STEPS = (
    *(1, 2, 5, 10, 20, 30),
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR),
    *(DAY, 2 * DAY, 4 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY),
)
_LABEL_WIDTH = 46.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on the axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Maps moments to pixels from `left` on; moments outside are clamped."""

    start: datetime
    end: datetime
    left: float
    width: float

    @property
    def seconds(self) -> float:
        """The length in seconds, at least 1."""
        return max(1.0, (self.end - self.start).total_seconds())

    @property
    def is_linear(self) -> bool:
        """Whether all seconds are equally wide."""
        return self.seconds <= _LINEAR_SECONDS

    @property
    def right(self) -> float:
        """The right end in pixels."""
        return self.left + self.width

    def x(self, moment: datetime) -> float:
        """Return a moment's position in pixels."""
        return self._x_of((moment - self.start).total_seconds())

    def ticks(self) -> list[Tick]:
        """Return as many labels as fit."""
        shown = [Tick(self.left, "0")]
        for step in _STEPS:
            x = self._x_of(step)
            if step > self.seconds:
                break
            if x - shown[-1].x >= _LABEL_WIDTH and self.right - x >= _LABEL_WIDTH / 2:
                shown.append(Tick(x, span(step).replace(".0", "")))
        return shown

    def _x_of(self, seconds: float) -> float:
        within = min(max(seconds, 0.0), self.seconds)
        share = within / self.seconds
        if not self.is_linear:
            share = math.log1p(within / _BEND_SECONDS) / math.log1p(self.seconds / _BEND_SECONDS)
        return round(self.left + share * self.width, 1)
