"""A payment session's history as shapes: statuses, reads, deliveries. Pure, no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from worker.console.axis import Axis, Tick
from worker.console.wording import event_name, span, when

Row = Mapping[str, Any]

LEFT, RIGHT = 88.0, 14.0
BANDS_TOP, BAND_HEIGHT = 26.0, 30.0
READS_TOP, LANE_HEIGHT = 72.0, 26.0
AXIS_HEIGHT = 34.0
_LETTER = 6.6

KNOWN_STATUSES = frozenset(
    {
        *("waiting", "in_progress", "back", "failed", "error", "manual_id_check"),
        *("completed", "cancelled", "disabled", "authorized", "incomplete", "complete"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The time of a status; `unseen` is its width before the worker detected it."""

    x: float
    width: float
    unseen: float
    css: str
    label: str
    number: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A read or a delivery; `since` is where its line begins."""

    x: float
    since: float
    css: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One sink's deliveries, or the reads."""

    label: str
    y: float
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The whole drawing, in pixels."""

    css: str
    width: float
    height: float
    right: float
    bands: Sequence[Band]
    lanes: Sequence[Lane]
    ticks: Sequence[Tick]
    now_x: float | None
    expires_x: float | None
    scale: str


def draw(session: Row, *, width: float, css: str) -> Timeline:
    """Return the drawing of a session of Reports.session, `width` pixels wide."""
    axis = _axis(session, width)
    reads = Lane(label="reads", y=READS_TOP, marks=_reads(session, axis))
    lanes = [reads, *_deliveries(session, axis)]
    expires_at = session["expires_at"]
    return Timeline(
        css=css,
        width=width,
        height=READS_TOP + len(lanes) * LANE_HEIGHT + AXIS_HEIGHT,
        right=axis.right,
        bands=_bands(session, axis),
        lanes=lanes,
        ticks=axis.ticks(),
        now_x=axis.x(session["asked_at"]) if session["outcome"] is None else None,
        expires_x=axis.x(expires_at) if expires_at and expires_at < axis.end else None,
        scale="" if axis.is_linear else ", logarithmic",
    )


def status_class(status: str | None) -> str:
    """Return the CSS class of a status; unknown statuses have one, too."""
    if status is None:
        return "s-unread"
    name = status.lower()
    return f"s-{name}" if name in KNOWN_STATUSES else "s-other"


def _axis(session: Row, width: float) -> Axis:
    """From tracking to the end, or to the next read of an open session."""
    moments = [
        session["finished_at"] or session["asked_at"],
        *(row["observed_at"] for row in session["transitions"]),
        *(row["delivered_at"] for row in session["deliveries"] if row["delivered_at"]),
        *([session["next_poll_at"]] if session["next_poll_at"] else []),
    ]
    return Axis(
        start=session["tracked_at"], end=max(moments), left=LEFT, width=width - LEFT - RIGHT
    )


def _bands(session: Row, axis: Axis) -> list[Band]:
    transitions = session["transitions"]
    until = session["finished_at"] or session["asked_at"]
    begins: list[datetime] = []
    for row in transitions:
        # A final status is accepted even with an older time than the one before.
        begins.append(max(row["occurred_at"], begins[-1] if begins else axis.start))
    ends = [*begins[1:], max(until, *begins)] if begins else []
    bands = [
        _band(row, axis, begin, end)
        for row, begin, end in zip(transitions, begins, ends, strict=True)
    ]
    first = begins[0] if begins else until
    if first > axis.start:
        bands.insert(0, _unread(axis, first))
    return bands


def _band(row: Row, axis: Axis, begin: datetime, end: datetime) -> Band:
    x, right = axis.x(begin), axis.x(end)
    # The last status of a finished session has no duration: it gets a visible width.
    width = max(right - x, 6.0)
    x = min(x, axis.right - width)
    status = row["to_status"]
    seen = row["observed_at"]
    delay = span(row["detection_delay_seconds"])
    return Band(
        x=x,
        width=round(width, 1),
        unseen=round(min(max(axis.x(seen) - x, 0.0), width), 1),
        css=status_class(status),
        label=status if len(status) * _LETTER + 18 < width else "",
        number=row["sequence"],
        title=f"{status} at {when(row['occurred_at'])}, detected after {delay}",
    )


def _unread(axis: Axis, until: datetime) -> Band:
    return Band(
        x=axis.left,
        width=round(max(axis.x(until) - axis.left, 1.0), 1),
        unseen=0.0,
        css="s-unread",
        label="",
        number=0,
        title="tracked, not read yet",
    )


def _reads(session: Row, axis: Axis) -> list[Mark]:
    """Return each stored poll; some are known exactly, the others to the second."""
    reads, failures = _known_polls(session)
    known = {int((at - axis.start).total_seconds()) for at in reads | failures}
    for poll in session["polls"]:
        if int((poll["at"] - axis.start).total_seconds()) not in known:
            (failures if poll["failed"] else reads).add(poll["at"])
    marks = [_tick(axis, at, "read", "read") for at in sorted(reads)]
    marks += [_tick(axis, at, "failed", "read failed") for at in sorted(failures)]
    coming = session["next_poll_at"]
    return [*marks, _tick(axis, coming, "coming", "next read")] if coming else marks


def _known_polls(session: Row) -> tuple[set[datetime], set[datetime]]:
    """Return the exact times of reads (around changes, and the last) and of a failed last poll."""
    read_at, polled_at = session["last_read_at"], session["last_polled_at"]
    beside = (
        at for t in session["transitions"] for at in (t["previous_read_at"], t["observed_at"])
    )
    reads = {at for at in (*beside, read_at) if at}
    return reads, {polled_at} - {read_at, None}


def _tick(axis: Axis, at: datetime, css: str, what: str) -> Mark:
    x = axis.x(at)
    return Mark(x=x, since=x, css=css, title=f"{what} at {when(at)}")


def _deliveries(session: Row, axis: Axis) -> list[Lane]:
    sinks = list(dict.fromkeys(row["sink"] for row in session["deliveries"]))
    return [
        Lane(
            label=sink,
            y=READS_TOP + number * LANE_HEIGHT,
            marks=[_delivery(row, axis) for row in session["deliveries"] if row["sink"] == sink],
        )
        for number, sink in enumerate(sinks, start=1)
    ]


def _delivery(row: Row, axis: Axis) -> Mark:
    state = delivery_state(row)
    end = row["delivered_at"] or row["dead_at"] or axis.end
    name = event_name(row["event_type"])
    return Mark(x=axis.x(end), since=axis.x(row["created_at"]), css=state, title=f"{name}: {state}")


def delivery_state(row: Row) -> str:
    """Return the state of a delivery: `delivered`, `dead` or `pending`."""
    if row["delivered_at"]:
        return "delivered"
    return "dead" if row["dead_at"] else "pending"


def waits_for(deliveries: Sequence[Row]) -> dict[tuple[str, int], int]:
    """Return the earlier event that each pending one waits for, by sink and sequence number."""
    pending = [row for row in deliveries if delivery_state(row) == "pending"]
    pending = sorted(pending, key=lambda row: (row["sink"], row["sequence"]))
    return {
        (later["sink"], later["sequence"]): earlier["sequence"]
        for earlier, later in pairwise(pending)
        if earlier["sink"] == later["sink"]
    }
