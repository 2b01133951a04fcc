"""Log events about delivering events, confirming orders, and authorization tokens."""

from __future__ import annotations

from worker.contract.log_events.model import OUTAGE, REPORT, LogEvent

_DELIVERY = ("event_id", "session_id", "sink")
_ORDER = 'see "An authorization is expiring or has lapsed"'

DELIVERY = (
    LogEvent(
        *("event_delivered", "info", (*_DELIVERY, "type")),
        "a sink accepted an event",
    ),
    LogEvent(
        *("delivery_failed", "warning", (*_DELIVERY, "attempts", "error")),
        "a sink did not accept an event; the delivery is retried",
        "nothing; if it lasts, repair the sink",
    ),
    LogEvent(
        *("delivery_not_marked", "warning", (*_DELIVERY, "error")),
        "Postgres is unavailable after an attempt; the event is delivered again, with the same id",
        OUTAGE,
    ),
    LogEvent(
        *("delivery_dead_lettered", "warning", (*_DELIVERY, "error")),
        "the last attempt failed",
        "`session-worker events dead`, repair the sink, `session-worker events replay`",
        alert=True,
    ),
    LogEvent(
        *("delivery_crashed", "error", (*_DELIVERY, "attempts")),
        "a fault in this program; the delivery is retried",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("sink_disabled", "warning", ("sink", "error")),
        "a webhook endpoint answered 410 Gone; its events wait",
        "repair it, then `session-worker events enable SINK`",
        alert=True,
    ),
    LogEvent(
        *("relay_interrupted", "warning", ("sink", "error")),
        "Postgres is unavailable before or between deliveries; beat resumes them",
        OUTAGE,
    ),
    LogEvent(
        *("relay_crashed", "error", ()),
        "a fault in this program; beat resumes the deliveries",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("stream_lost", "warning", ("stream",)),
        "Redis lost the event stream; its events are redelivered",
        "find out why; Redis needs `appendonly yes` and `maxmemory-policy noeviction`",
        alert=True,
    ),
    LogEvent(
        *("events_redelivered", "warning", ("stream", "count")),
        "events of a lost stream are due for delivery again, with the same ids",
    ),
    LogEvent(
        *("stream_check_failed", "warning", ("error",)),
        "Redis or Postgres is unavailable; lost streams are looked for again in 5 s",
        OUTAGE,
    ),
    LogEvent(
        *("retry_requested", "info", ("refused_id", "due", "user")),
        "somebody pressed the console's retry button; `due`: the message is tried again",
        "nothing",
    ),
    LogEvent(
        *("replay_requested", "info", ("event_id", "sink", "result", "user")),
        "somebody pressed the console's replay button",
    ),
    LogEvent(
        *("order_confirmed", "info", ("session_id", "effect")),
        "an order was confirmed; its authorization causes no more warnings",
    ),
    LogEvent(
        *("order_already_confirmed", "info", ("session_id", "problem")),
        "a shop system's order was placed, and the shop had confirmed another id before",
    ),
    LogEvent(
        *("confirmation_retrying", "warning", ("session_id", "error")),
        "Postgres is unavailable; a `confirm_order` message is held and stored later",
        OUTAGE,
    ),
    LogEvent(
        *("confirmation_warnings_stopped", "info", ("count",)),
        "`CONFIRMATION_EXPECTED` is false: pending warnings of missing orders were dropped",
    ),
    LogEvent(
        *("authorization_expiring", "warning", ("session_id", "minutes_left")),
        "authorized, and no order is confirmed; there is time to place it",
        _ORDER,
        alert=True,
    ),
    LogEvent(
        *("authorization_lapsed", "warning", ("session_id",)),
        "authorized, and no order was confirmed in time",
        _ORDER,
        alert=True,
    ),
    LogEvent(
        *("tokens_erased", "info", ("count", "undelivered")),
        "authorization tokens were used or expired, and were deleted",
    ),
    LogEvent(
        *("token_expired_undelivered", "warning", ("session_id",)),
        "a token expired before every sink had its event: an order may be missing",
        "`session-worker show ID` names the sink",
        alert=True,
    ),
)
