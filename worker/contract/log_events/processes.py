"""Log events about beat, the messages of the queues, and the console."""

from __future__ import annotations

from worker.contract.log_events.model import OUTAGE, REPORT, LogEvent

PROCESSES = (
    LogEvent(
        *("setting_ignored", "warning", ("setting", "meant")),
        "an environment variable looks like a setting and is none; `meant` is the closest one",
        "correct its name, or remove it",
    ),
    LogEvent(
        *("tick_failed", "warning", ("error", "retry_in")),
        "Postgres or the broker is unavailable; beat retries after `retry_in` seconds. "
        '"is the database migrated?" in `error`: the code is newer than the schema',
        OUTAGE,
    ),
    LogEvent(
        *("tick_crashed", "error", ()),
        "a fault in this program; beat goes on",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("backlog_read_failed", "warning", ("error",)),
        "beat could not read the backlog for its metrics",
        "if it lasts: `roles.sql` grants the rights; a slow statement needs a faster database",
    ),
    LogEvent(
        *("backlog_read_crashed", "error", ()),
        "a fault in this program; metrics about the backlog become `NaN` after a minute",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("payment_sessions_purged", "info", ("count",)),
        "finished payment sessions older than `RETENTION_DAYS` were deleted",
    ),
    LogEvent(
        *("progress_file_not_written", "warning", ("error",)),
        "`PROGRESS_FILE` cannot be written, so the liveness probe will fail",
        "check the path and its permissions",
    ),
    LogEvent(
        *("console_database_unavailable", "warning", ("error", "shown")),
        "the console could not read Postgres and showed an error page",
        OUTAGE,
    ),
    LogEvent(
        *("console_login_refused", "warning", ("client",)),
        "somebody tried a wrong console login",
        "if frequent, is the console reachable from outside?",
    ),
)
