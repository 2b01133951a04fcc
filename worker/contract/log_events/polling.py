"""Log events about tracking and polling payment sessions, and about their accounts."""

from __future__ import annotations

from worker.contract.log_events.model import OUTAGE, REPORT, LogEvent

_POLL = ("session_id", "correlation_id")

POLLING = (
    LogEvent(
        *("payment_session_tracked", "info", ("session_id", "effect")),
        "a shop's `track` message was stored",
    ),
    LogEvent(
        *("status_changed", "info", (*_POLL, "from_status", "to")),
        "a status transition was recorded",
    ),
    LogEvent(
        *("payment_session_finished", "info", (*_POLL, "outcome")),
        "a payment session reached its outcome and is polled no more",
    ),
    LogEvent(
        *("payment_session_polled", "debug", (*_POLL, "finding", "error")),
        "a poll was recorded",
    ),
    LogEvent(
        *("polls_sent", "debug", ("tasks", "sessions")),
        "beat claimed due sessions and sent their poll tasks",
    ),
    LogEvent(
        *("leases_lost_before_poll", "debug", ("count",)),
        "poll tasks came after their lease had expired; others poll the sessions",
    ),
    LogEvent(
        *("track_retrying", "warning", ("session_id", "error")),
        "Postgres is unavailable; a `track` message is held and stored later",
        OUTAGE,
    ),
    LogEvent(
        *("first_polls_not_sent", "warning", ("session_ids", "error")),
        "the broker is unavailable; beat sends the first polls of new sessions",
        OUTAGE,
    ),
    LogEvent(
        *("lease_release_failed", "warning", ("session_ids", "error")),
        "Postgres is unavailable; the sessions are due when their leases expire",
        OUTAGE,
    ),
    LogEvent(
        *("poll_load_failed", "warning", ("count", "error")),
        "a poll task could not load its sessions; they are polled when their leases expire",
        OUTAGE,
    ),
    LogEvent(
        *("account_not_configured", "warning", ("account", "count")),
        "this worker has no credentials for the account and leaves its sessions to the others;"
        " logged once a minute",
        "nothing during a rolling release; if it lasts, configure the account in every worker",
    ),
    LogEvent(
        *("poll_record_retrying", "warning", ("session_id", "error")),
        "Klarna answered, and Postgres is unavailable; recording is retried",
        OUTAGE,
    ),
    LogEvent(
        *("poll_dropped", "warning", ("session_id", "error")),
        "a poll could not be recorded within its lease; the session is polled again",
        OUTAGE,
    ),
    LogEvent(
        *("observation_dropped", "warning", (*_POLL, "reason")),
        "a poll took longer than its lease, so its result was not recorded",
        "if frequent, raise `POLL_LEASE_SECONDS`",
    ),
    LogEvent(
        *("poll_crashed", "error", ("session_id",)),
        "a fault in this program; the session is polled again when its lease expires",
        REPORT,
        alert=True,
    ),
    LogEvent(
        *("answer_field_ignored", "warning", (*_POLL, "field")),
        "a field of Klarna's answer is invalid and was read as absent; the rest was used",
        "if frequent, tell Klarna, with the correlation id",
    ),
    LogEvent(
        *("completed_empty", "warning", _POLL),
        "COMPLETED without token and order, for five minutes",
        "look the session up at Klarna",
        alert=True,
    ),
    LogEvent(
        *("proof_kept", "warning", _POLL),
        "Klarna shows a token or an order id under a documented open status; it is stored, and"
        " reading goes on",
        "look the session up at Klarna",
        alert=True,
    ),
    LogEvent(
        *("completed_while_open", "warning", _POLL),
        "a session with a token or an order id was still open at its end; finished as `completed`",
        "look the session up at Klarna",
        alert=True,
    ),
    LogEvent(
        *("session_abandoned", "warning", _POLL),
        "not readable until a day after its end; finished as `expired`",
        "look the session up at Klarna",
        alert=True,
    ),
    LogEvent(
        *("finished_by_older_answer", "warning", _POLL),
        "a final status with an older time than the recorded one was accepted",
        "look the session up at Klarna",
    ),
    LogEvent(
        *("account_paused", "warning", ("account", "until", "error")),
        "Klarna refused the account's credentials (401 or 403)",
        "`session-worker check` tries them; correct them, restart worker and beat",
        alert=True,
    ),
    LogEvent(
        *("breaker_opened", "warning", ("account", "failing_since", "error")),
        "reads of the account fail one after the other; one request at a time probes it",
        "is it Klarna, or your network, proxy or firewall?",
        alert=True,
    ),
    LogEvent(
        *("breaker_closed", "warning", ("account",)),
        "Klarna answers again; reads of the account resume gradually",
    ),
    LogEvent(
        *("read_budget_cut", "warning", ("account", "share", "error")),
        "a 429, or the rate limit's window is used up; the budget recovers within five minutes",
        "if frequent, the shop's own calls leave less than `KLARNA_QUOTA_SHARE`: lower it",
    ),
    LogEvent(
        *("interval_multiplier_changed", "info", ("account", "multiplier")),
        "more is due than the read budget allows: intervals are multiplied by this; 1 is normal",
        'see "The quota is used up"',
    ),
    LogEvent(
        *("account_read_failed", "warning", ("error",)),
        "Postgres is unavailable; the accounts' last known state is used",
        OUTAGE,
    ),
    LogEvent(
        *("rate_limiter_degraded", "warning", ("error",)),
        "Redis is unavailable; each process uses a quarter of the read budget",
        OUTAGE,
    ),
    LogEvent(
        *("rate_limiter_reset", "warning", ("account", "owed_seconds")),
        "the rate limiter's state lay in the future and was reset",
        "check the clock of the Redis server",
    ),
)
