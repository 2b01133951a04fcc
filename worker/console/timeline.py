"""A payment session's life as shapes to draw: bands, reads, deliveries. Pure, no markup."""

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
    """A status while it lasted; `unseen` is how much of it nobody knew of yet."""

    x: float
    width: float
    unseen: float
    css: str
    label: str
    number: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A read, or the end of a delivery; `since` is where its line begins."""

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
    """Everything to draw, in pixels."""

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
    """Return the drawing of what Reports.session told, `width` pixels wide."""
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
    """The style class of a status: Klarna may send a word that has none yet."""
    if status is None:
        return "s-unread"
    name = status.lower()
    return f"s-{name}" if name in KNOWN_STATUSES else "s-other"


def _axis(session: Row, width: float) -> Axis:
    """From tracking to the end; an open session's reaches to its next read."""
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
    over = session["finished_at"] or session["asked_at"]
    begins: list[datetime] = []
    for row in transitions:
        # A final answer is taken even if its own time is older than the last one's.
        begins.append(max(row["occurred_at"], begins[-1] if begins else axis.start))
    ends = [*begins[1:], max(over, *begins)] if begins else []
    bands = [
        _band(row, axis, begin, end)
        for row, begin, end in zip(transitions, begins, ends, strict=True)
    ]
    first = begins[0] if begins else over
    if first > axis.start:
        bands.insert(0, _unread(axis, first))
    return bands


def _band(row: Row, axis: Axis, begin: datetime, end: datetime) -> Band:
    x, right = axis.x(begin), axis.x(end)
    # The last status of a finished session has no length: it gets just enough to be seen.
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
        title=f"{status} at {when(row['occurred_at'])}, seen after {delay}",
    )


def _unread(axis: Axis, until: datetime) -> Band:
    return Band(
        x=axis.left,
        width=round(max(axis.x(until) - axis.left, 1.0), 1),
        unseen=0.0,
        css="s-unread",
        label="",
        number=0,
        title="tracked, no status yet",
    )


def _reads(session: Row, axis: Axis) -> list[Mark]:
    """Each poll that is kept; to the moment those that are known so, the others to the second."""
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
    """The reads beside each change and the last; the last poll where that failed."""
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
    """Where a delivery stands: `delivered`, `dead` or `waiting`."""
    if row["delivered_at"]:
        return "delivered"
    return "dead" if row["dead_at"] else "waiting"


def waits_for(deliveries: Sequence[Row]) -> dict[tuple[str, int], int]:
    """The earlier event that each waiting one comes after, by sink and sequence number."""
    waiting = [row for row in deliveries if delivery_state(row) == "waiting"]
    waiting = sorted(waiting, key=lambda row: (row["sink"], row["sequence"]))
    return {
        (later["sink"], later["sequence"]): earlier["sequence"]
        for earlier, later in pairwise(waiting)
        if earlier["sink"] == later["sink"]
    }
