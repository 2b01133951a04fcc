"""Log events about the messages of shops, heartbeats and queues."""

from __future__ import annotations

from worker.contract.log_events.model import OUTAGE, REPORT, LogEvent

_REFUSED = ("refused_id", "task", "task_id")

INTAKE = (
    LogEvent(
        *("message_refused", "warning"),
        ("task", "task_id", "session_id", "field", "reason", "kept"),
        "a message was not taken in; `kept` says whether it is among the refused messages",
        "`session-worker refused list`",
        alert=True,
    ),
    LogEvent(
        *("message_dropped", "error", ("reason",)),
        "a message that cannot be read as one was dropped",
        "find the program that sends to the worker's queues",
        alert=True,
    ),
    LogEvent(
        *("argument_left_out", "warning", ("session_id", "field", "reason")),
        "a session is tracked without a wrong optional argument",
        "correct what the shop sends",
    ),
    LogEvent(
        *("refused_message_retrying", "warning", ("task_id", "error")),
        "Postgres is unavailable; the message stays with the broker",
        OUTAGE,
    ),
    LogEvent(
        *("refused_message_resolved", "info", (*_REFUSED, "resolution")),
        "a refused message was taken in at a later try, or a newer one had overtaken it",
    ),
    LogEvent(
        *("refused_message_crashed", "error", _REFUSED),
        "a fault in this program; the message is kept and retried",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("refused_messages_not_purged", "warning", ("error",)),
        "Postgres is unavailable, or a table or a right is missing",
        OUTAGE,
    ),
    LogEvent(
        *("intake_sweep_failed", "warning", ("error",)),
        "early confirmations and refused messages wait: Postgres or the broker is unavailable, or "
        "a table or a right is missing",
        OUTAGE,
    ),
    LogEvent(
        *("intake_sweep_crashed", "error", ()),
        "a fault in this program; the next sweep is a second later",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("queue_watch_crashed", "error", ()),
        "a fault in this program; the next look is ten seconds later",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("queues_not_watched", "warning", ("error",)),
        "Postgres or the broker is unavailable, or a table or a right is missing",
        OUTAGE,
    ),
    LogEvent(
        *("heartbeat_not_written", "warning", ("error",)),
        "Postgres is unavailable, or a table or a right is missing",
        OUTAGE,
    ),
    LogEvent(
        *("heartbeat_crashed", "error", ()),
        "a fault in this program; the next heartbeat is ten seconds later",
        REPORT,
        alert=True,
    ),
)
