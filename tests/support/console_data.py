"""Every kind of session that the console shows, in a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.support.stored import Stored

PAID = "5a3fc9ba-2b2e-7c8e-9d9c-1f3a0c5a7d10"
LAPSED = "0d6c8f31-77aa-7b02-8a37-5d1be0f1c0de"
OPEN = "39a1c773-bafd-754d-af1f-b30c592f1267"
FAILED = "c44f0f8e-1b8a-7f43-9a61-0a9f1e2d3c4b"
CANCELLED = "b1946ac9-2492-7d23-8b7e-55ad3fa1c0f7"
DEAD = "e7b1d2a4-6c3f-7d55-8e90-2b4a6c8e0f12"
UNTRACKED = "8e0a91a6-3f58-7a6b-b3fb-7f6c1d2e9a44"
REFERENCE = "order-2041"
ORDER_ID = "f3392f8b-6116-4073-ab96-e330819e2c07"
INJECTED = '<img src=x onerror="window.injected=true"><script>window.injected=true</script>\'--'
GONE = "webhook:erp-of-the-warehouse-in-the-north"
HELD = "webhook"
LONG = "long-" + "0123456789abcdef" * 14
CANARY = "canary-of-a-token"


@dataclass(frozen=True, slots=True)
class ConsoleData:
    """Two dead-lettered events: one complete, one whose token is erased."""

    dead: UUID
    tokenless: UUID


def add_console_data(stored: Stored, *, shown_text: str = INJECTED) -> ConsoleData:
    """Fill an empty, migrated database; `shown_text` is text of others in it."""
    stored.add_account("default", last_read_at="now")
    stored.add_account("nordic", paused_for=240, refusals=3)
    stored.add_account("us", stretch=1.4, quota_share=0.6, quota_cut_at="now", read_limit=200)
    _paid(stored)
    _lapsed(stored)
    _open(stored)
    _crowd(stored)
    stored.add("webhook_endpoints", sink=GONE, disabled_at="now", reason="HTTP 410 Gone")
    stored.add("webhook_endpoints", sink=HELD, held_until="tomorrow")
    _long(stored)
    stored.add_session(FAILED, due_in=150, last_error=f"503 {shown_text}", reference=shown_text)
    _refused(stored, shown_text)
    return ConsoleData(tokenless=_dead(stored, shown_text), dead=_cancelled(stored))


def _refused(stored: Stored, shown_text: str) -> None:
    """Messages that wait or are retried, and an order of a session that nobody tracks."""
    for number, columns in enumerate(
        (
            {"field": "session_url", "reason": "must be on an allowed origin", "session_id": PAID},
            {"field": "account", "reason": "is not configured", "next_try_at": "tomorrow"},
            {"field": "a" * 64, "reason": "is not an argument of this task", "attempts": 3},
            {"task": "x" * 64, "field": "task", "reason": "is not a task of this worker"},
        )
    ):
        defaults = {
            "task_id": f"refused-{number}",
            "body_hash": b"",
            "task": "payment_sessions.track",
            "reference": shown_text,
            "arguments": CANARY.encode(),
            "received_at": "2026-01-02T03:04:05Z",
        }
        stored.add("refused_messages", **(defaults | columns))
    early = {"session_id": UNTRACKED, "order_id": shown_text}
    stored.add("early_confirmations", **early, received_at="2026-01-02T03:04:05Z")


def _finish(stored: Stored, session_id: str, seconds_ago: float, **columns: object) -> None:
    stored.add_session(
        session_id,
        status="COMPLETED",
        outcome="completed",
        finished_at="now",
        next_poll_at=None,
        transition_count=4,
        **columns,
    )
    _shift(stored, session_id, ("finished_at",), seconds_ago)


def _shift(stored: Stored, session_id: str, columns: Sequence[str], seconds_ago: float) -> None:
    """Set all of these columns to one moment."""
    changes = ", ".join(f"{column} = statement_timestamp() - moved.by" for column in columns)
    stored.rows(
        f"UPDATE payment_sessions SET {changes}"  # noqa: S608 - ours
        " FROM (SELECT %s * interval '1 s') AS moved(by) WHERE session_id = %s",
        seconds_ago,
        session_id,
    )


def _history(stored: Stored, session_id: str, *changes: tuple[str, float, float]) -> None:
    """Each change: its status, how many seconds ago at Klarna, and after how many more seen."""
    before: str | None = None
    for sequence, (status, seconds_ago, delay) in enumerate(changes, start=1):
        stored.rows(
            "INSERT INTO status_transitions (session_id, sequence, from_status, to_status,"
            " occurred_at, observed_at, previous_read_at)"
            " VALUES (%s, %s, %s, %s, now() - %s * interval '1 s', now() - %s * interval '1 s',"
            " now() - %s * interval '1 s')",
            session_id,
            sequence,
            before,
            status,
            seconds_ago,
            seconds_ago - delay,
            seconds_ago + delay / 3 if before else None,
        )
        before = status


def _poll_times(stored: Stored, session_id: str, *seconds: int) -> None:
    """Seconds after tracking of every poll, inverted for one that failed."""
    stored.rows(
        "UPDATE payment_sessions SET polled_seconds = %s WHERE session_id = %s",
        list(reversed(seconds)),
        session_id,
    )


def _paid(stored: Stored) -> None:
    """Paid after twelve minutes; delivered to both sinks, to one at its second attempt."""
    _finish(
        stored,
        PAID,
        600,
        reference=REFERENCE,
        order_id=ORDER_ID,
        klarna_reference="KB7X2Q9P",
        poll_count=38,
        authorization_token=CANARY.encode(),
    )
    _shift(stored, PAID, ("tracked_at",), 1350)
    _shift(stored, PAID, ("last_polled_at", "last_read_at"), 600)
    _shift(stored, PAID, ("expires_at",), -3600 * 46)
    _history(
        stored,
        PAID,
        ("WAITING", 1351, 1.2),
        ("IN_PROGRESS", 1322, 2.4),
        ("BACK", 1105, 9),
        ("IN_PROGRESS", 1040, 6),
        ("COMPLETED", 612, 12),
    )
    _poll_times(
        stored,
        PAID,
        *(0, 2, 4, 6, 9, 12, 15, 19, 23, 27, 30, 33, 37, 42, 48, 56, 66, 78, 95, 118, 145),
        *(175, 205, 242, 254, 280, 308, 316, ~345, ~352, ~371, ~402, 455, 520, 590, 660, 734, 750),
    )
    for sequence, (kind, webhook_after) in enumerate(
        [("payment_session.authorized", 95), ("payment_session.order_placed", 97)], start=1
    ):
        event = stored.add_message(
            PAID, sequence, sinks=("redis_stream", "webhook"), event_type=kind
        )
        _date_event(stored, event, 600, redis_stream=0.3, webhook=webhook_after)


def _lapsed(stored: Stored) -> None:
    """Authorized, delivered, never confirmed."""
    _finish(stored, LAPSED, 3900, reference="order-2017", poll_count=21)
    _shift(stored, LAPSED, ("tracked_at",), 4300)
    _shift(stored, LAPSED, ("authorization_expires_at", "authorization_lapsed_at"), 300)
    _history(
        stored,
        LAPSED,
        ("WAITING", 4300, 0.8),
        ("IN_PROGRESS", 4280, 2.1),
        ("COMPLETED", 3905, 5),
    )
    event = stored.add_message(LAPSED, 1, event_type="payment_session.authorized")
    _date_event(stored, event, 3900, redis_stream=0.2)


def _open(stored: Stored) -> None:
    """Two minutes into a payment, in a tab of a browser."""
    stored.add_session(OPEN, status="IN_PROGRESS", due_in=9, reference="order-2050", poll_count=14)
    _shift(stored, OPEN, ("tracked_at",), 160)
    _shift(stored, OPEN, ("last_polled_at", "last_read_at"), 4)
    _shift(stored, OPEN, ("expires_at",), -3600 * 47)
    _history(stored, OPEN, ("WAITING", 160, 0.4), ("IN_PROGRESS", 118, 3))
    _poll_times(stored, OPEN, 0, 4, 9, 15, 23, 32, 41, 45, 56, 70, 88, 110, 133, 156)


def _long(stored: Stored) -> None:
    """Long values, a hundred changes, and a pending event of a sink that is gone."""
    stored.add_session(LONG, reference=LONG, account=LONG[:60], due_in=3600)
    _shift(stored, LONG, ("tracked_at",), 40_000)
    words = ("WAITING", "BACK", "ERROR", "FAILED", "A_LONG_NEW_WORD_OF_KLARNAS_OWN")
    _history(stored, LONG, *((words[n % 5], 40_000 - n * 300, 2) for n in range(100)))
    _poll_times(stored, LONG, *range(0, 39_000, 195))
    stored.add_message(LONG, 1, sinks=(GONE,))


def _cancelled(stored: Stored) -> UUID:
    """Cancelled; the delivery to the webhook is dead-lettered."""
    _finish(stored, CANCELLED, 3600 * 90, reference="order-1702", poll_count=17)
    event = stored.add_message(CANCELLED, 1, sinks=("webhook",))
    stored.rows(
        "UPDATE outbox_deliveries SET dead_at = now() - interval '30 h', attempts = 17,"
        " last_error = 'no answer in time' WHERE event_id = %s",
        event,
    )
    return event


def _dead(stored: Stored, shown_text: str) -> UUID:
    """Dead-lettered by the webhook after three days."""
    _finish(stored, DEAD, 3600 * 80, reference="order-1733", poll_count=44)
    _shift(stored, DEAD, ("tracked_at",), 3600 * 81)
    _history(stored, DEAD, ("WAITING", 3600 * 81, 1), ("COMPLETED", 3600 * 80 + 30, 30))
    event = stored.add_message(
        DEAD, 1, sinks=("redis_stream", "webhook"), event_type="payment_session.authorized"
    )
    _date_event(stored, event, 3600 * 80, redis_stream=0.4)
    stored.rows(
        "UPDATE outbox_deliveries SET dead_at = now() - interval '8 h', attempts = 18,"
        " last_error = %s WHERE event_id = %s AND sink = 'webhook'",
        f"answered 500 {shown_text}",
        event,
    )
    return event


def _crowd(stored: Stored) -> None:
    """Sixty more, so that lists have a second page and distributions a shape."""
    for number in range(60):
        session_id = f"crowd-{number:03}"
        if number % 3:
            stored.add_session(
                session_id,
                due_in=-2 if number % 20 == 1 else 5 + number * 7,
                status="WAITING" if number % 2 else "IN_PROGRESS",
                reference=f"order-19{number:02}",
                poll_count=3 + number,
            )
            _shift(stored, session_id, ("last_polled_at", "last_read_at"), number * 4)
        else:
            outcome = ("cancelled", "expired", "completed")[number // 3 % 3]
            stored.add_session(
                session_id,
                status=outcome.upper() if outcome != "expired" else "WAITING",
                outcome=outcome,
                finished_at="now",
                next_poll_at=None,
                poll_count=20 + number,
            )
            _shift(stored, session_id, ("finished_at",), 60 + number * 90)
        _history(
            stored,
            session_id,
            ("WAITING", 4000 + number, 1),
            ("IN_PROGRESS", 3000 + number, 0.6 + number % 7 * 2.3),
        )


def _date_event(stored: Stored, event: UUID, seconds_ago: float, **delivered: float) -> None:
    """Say when an event was made and, by sink, how many seconds later it was delivered."""
    stored.rows(
        "UPDATE outbox_messages SET created_at = now() - %s * interval '1 s' WHERE event_id = %s",
        seconds_ago,
        event,
    )
    for sink, after in delivered.items():
        stored.rows(
            "UPDATE outbox_deliveries SET attempts = %s,"
            " delivered_at = now() - %s * interval '1 s' WHERE event_id = %s AND sink = %s",
            2 if after > 1 else 1,
            seconds_ago - after,
            event,
            sink,
        )
