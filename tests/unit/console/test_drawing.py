"""What the console draws and says: times, axes, bands, marks, bars, accounts. No server."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.builders import NOW, ago, ahead
from worker.console import histogram
from worker.console.accounts import standing
from worker.console.axis import Axis
from worker.console.timeline import delivery_state, draw, status_class, waits_for
from worker.console.wording import count, span, when


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
        (-3, "-3.0 s"),
        (timedelta(minutes=2), "2 min"),
    ],
)
def test_a_duration_is_said_in_two_units(seconds: float | timedelta, said: str):
    """Rounded before it is split: nothing is ever 60 seconds."""
    assert span(seconds) == said


def test_nothing_is_a_dash():
    """What is not known is not zero."""
    assert (when(None), span(None), count(None)) == ("\N{EN DASH}",) * 3


@pytest.mark.parametrize("seconds", [0, 1, 90, 119, 121, 3600, 86_400 * 2, 86_400 * 400])
def test_an_axis_keeps_order_and_room(seconds: float):
    """However long: time grows to the right, all is within, labels do not touch."""
    axis = Axis(start=NOW, end=ahead(seconds=seconds), left=80, width=300)

    places = [axis.x(ahead(seconds=seconds * part / 50)) for part in range(-5, 60)]

    assert places == sorted(places)
    assert (min(places), max(places) <= 380) == (80, True)
    ticks = [tick.x for tick in axis.ticks()]
    assert ticks[0] == 80
    assert all(later - earlier >= 46 for earlier, later in itertools.pairwise(ticks))


def a_row(**overrides: object) -> dict[str, Any]:
    """A session as Reports tells it: tracked an hour ago, never read."""
    moments = ("expires_at", "finished_at", "last_polled_at", "last_read_at", "outcome")
    return (
        dict.fromkeys(moments)
        | {"tracked_at": ago(hours=1), "asked_at": NOW, "next_poll_at": ahead(seconds=9)}
        | {"transitions": [], "deliveries": [], "polls": []}
        | overrides
    )


def a_transition(sequence: int, to: str, minutes_ago: float, delay: float = 5) -> dict[str, Any]:
    """A change that was seen `delay` seconds late."""
    occurred_at = ago(minutes=minutes_ago)
    return {
        "sequence": sequence,
        "to_status": to,
        "occurred_at": occurred_at,
        "observed_at": occurred_at + timedelta(seconds=delay),
        "previous_read_at": None,
        "detection_delay_seconds": delay,
    }


def a_delivery(sequence: int = 1, sink: str = "webhook", **overrides: object) -> dict[str, Any]:
    """A delivery that waits."""
    ends = {"delivered_at": None, "dead_at": None}
    event = {"event_type": "payment_session.authorized", "created_at": ago(minutes=1)}
    return {"event_id": uuid4(), "sequence": sequence, "sink": sink} | ends | event | overrides


def test_bands_follow_each_other_without_a_gap():
    """Each status lasts until the next; before the first nothing is known."""
    changes = [a_transition(1, "WAITING", 55), a_transition(2, "IN_PROGRESS", 20)]

    drawn = draw(a_row(transitions=changes), width=900, css="wide")

    unread, waiting, progress = drawn.bands
    assert [band.css for band in drawn.bands] == ["s-unread", "s-waiting", "s-in_progress"]
    assert unread.x + unread.width == pytest.approx(waiting.x, abs=0.2)
    assert waiting.x + waiting.width == pytest.approx(progress.x, abs=0.2)
    assert progress.x + progress.width <= drawn.right
    assert waiting.unseen > 0


def test_what_happened_before_tracking_begins_with_it():
    """A session tracked late is drawn from its tracking on."""
    (band,) = draw(
        a_row(transitions=[a_transition(1, "WAITING", 600)]), width=900, css="wide"
    ).bands

    assert band.x == 88


def test_a_final_answer_with_an_older_time_is_drawn_behind_the_one_before():
    """It is taken though Klarna's time says otherwise; no band has a negative length."""
    changes = [a_transition(1, "IN_PROGRESS", 10), a_transition(2, "COMPLETED", 30)]
    row = a_row(transitions=changes, finished_at=ago(minutes=9), outcome="completed")

    bands = draw(row, width=340, css="narrow").bands

    assert [band.number for band in bands[1:]] == [1, 2]
    assert all(band.width > 0 and band.x + band.width <= 340 for band in bands)


def test_what_no_poll_was_kept_of_is_drawn_around_its_changes():
    """As releases before stored it: the reads beside a change, the last one, and the next."""
    change = a_transition(1, "WAITING", 55) | {"previous_read_at": ago(minutes=57)}
    row = a_row(transitions=[change], last_read_at=ago(minutes=2), poll_count=60)

    reads = draw(row, width=900, css="wide").lanes[0].marks

    assert [mark.css for mark in reads] == ["read", "read", "read", "coming"]


def test_each_poll_is_a_tick_and_none_is_drawn_twice():
    """Kept to the second; where the moment is known, it is that. A failed one looks otherwise."""
    change = a_transition(1, "WAITING", 55, delay=0.7)
    polls = [(55 * 60, False), (50 * 60, True), (40 * 60, False), (60, True)]
    row = a_row(
        transitions=[change],
        polls=[{"at": ago(seconds=seconds), "failed": failed} for seconds, failed in polls],
        last_read_at=ago(minutes=40),
        last_polled_at=ago(seconds=59.4),
    )

    reads = draw(row, width=900, css="wide").lanes[0].marks

    axis = Axis(start=row["tracked_at"], end=row["next_poll_at"], left=88, width=900 - 88 - 14)
    moments = [change["observed_at"], ago(minutes=40), ago(minutes=50), ago(seconds=59.4)]
    assert [mark.css for mark in reads] == ["read", "read", "failed", "failed", "coming"]
    assert [mark.x for mark in reads[:4]] == [axis.x(moment) for moment in moments]
    assert "read failed at" in reads[2].title


def test_each_sink_has_a_lane_with_where_its_deliveries_stand():
    """Delivered, given up or waiting, each from when its event was made."""
    deliveries = [
        a_delivery(sink="redis_stream", delivered_at=ago(seconds=59)),
        a_delivery(dead_at=NOW),
        a_delivery(2),
    ]

    drawn = draw(a_row(deliveries=deliveries), width=900, css="wide")

    _, stream, webhook = drawn.lanes
    assert [mark.css for mark in stream.marks] == ["delivered"]
    assert [mark.css for mark in webhook.marks] == ["dead", "pending"]
    assert drawn.now_x is not None
    assert drawn.height > webhook.y


def test_an_event_waits_for_the_one_before_to_the_same_sink():
    """Sinks do not wait for each other; what was given up holds nothing back."""
    deliveries = [
        *(a_delivery(1), a_delivery(2), a_delivery(3, dead_at=NOW), a_delivery(4)),
        a_delivery(2, "redis_stream"),
    ]

    assert waits_for(deliveries) == {("webhook", 2): 1, ("webhook", 4): 2}
    assert delivery_state(deliveries[2]) == "dead"


@pytest.mark.parametrize(
    ("status", "css"),
    [("COMPLETED", "s-completed"), (None, "s-unread"), ('"><x', "s-other"), ("NEW", "s-other")],
)
def test_a_status_that_nobody_knows_yet_has_a_style_too(status: str | None, css: str):
    """Klarna's word is never part of the markup."""
    assert status_class(status) == css


def test_bars_are_as_long_as_their_counts():
    """The longest is whole; buckets that nobody is in are there."""
    made = histogram.of_buckets((1, 60), {0: 4, 2: 1})

    assert [(bar.label, bar.count, bar.share) for bar in made] == [
        ("≤ 1 s", 4, 100.0),
        ("≤ 1 min", 0, 0.0),
        ("> 1 min", 1, 25.0),
    ]
    rows = [{"timed": 5, "within_1_s": 2, "within_60_s": 4}] * 2
    assert [bar.count for bar in histogram.of_cumulative((1, 60), rows)] == [4, 4, 2]


@pytest.mark.parametrize(
    ("changes", "said", "css"),
    [
        ({}, "healthy", "good"),
        ({"refusals": 1, "paused": True}, "refused by Klarna", "bad"),
        ({"failing_since": NOW, "paused": True}, "reads failing since 2026-03-01", "bad"),
        ({"throttles": 1, "paused": True}, "rate limited by Klarna", "warn"),
        ({"breaker": "ramping"}, "recovering", "warn"),
    ],
)
def test_an_account_says_how_it_is_doing(changes: dict[str, Any], said: str, css: str):
    """The worst first: what a person has to do something about."""
    well = {"refusals": 0, "failing_since": None, "paused": False, "breaker": "closed"}

    stands = standing(well | changes)

    assert stands.text.startswith(said)
    assert stands.css == css
