"""What `health`, `check`, console and metrics ask of processes, queues and failing sessions.

Read-only. The thresholds are the domain's.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text

from worker.adapters.postgres.literals import interval
from worker.adapters.postgres.reports.events import EventReports
from worker.adapters.postgres.reports.refused import RefusedReports
from worker.adapters.postgres.reports.sessions import Row
from worker.domain.health import (
    FAILURES_IN_VAIN,
    QUEUE_SEEN_FOR,
    SEEN_WITHIN,
    SESSION_FAILS_AFTER,
)

# A row for each role, whether or not one was ever seen.
PROCESSES_BY_ROLE = text(f"""
    SELECT role, max(p.seen_at) AS seen_at,
        count(p.process_id) FILTER (
            WHERE p.stopped_at IS NULL
                AND p.seen_at > statement_timestamp() - {interval(SEEN_WITHIN)}
        ) AS running,
        EXTRACT(epoch FROM statement_timestamp() - max(p.seen_at))::float AS seen_seconds
    FROM unnest(ARRAY['worker', 'beat']) AS role
    LEFT JOIN processes AS p USING (role)
    GROUP BY 1
    ORDER BY 1 DESC
""")  # noqa: S608 - a constant of the domain
_PROCESSES = text(f"""
    SELECT role, host, pid, version, started_at, seen_at, progress_at,
        EXTRACT(epoch FROM statement_timestamp() - progress_at)::float AS idle_seconds
    FROM processes
    WHERE stopped_at IS NULL AND seen_at > statement_timestamp() - {interval(SEEN_WITHIN)}
    ORDER BY role DESC, started_at
""")  # noqa: S608 - a constant of the domain
# `unchanged_seconds`: for how long its next message has been the same, as far as beat has seen.
QUEUES = text(f"""
    SELECT queue, waiting, unchanged_since,
        COALESCE(EXTRACT(epoch FROM
            LEAST(statement_timestamp(), looked_at + {interval(QUEUE_SEEN_FOR)}) - unchanged_since
        ), 0)::float AS unchanged_seconds
    FROM queues
    ORDER BY 1
""")  # noqa: S608 - a constant of the domain
# The answer 404 says nothing against an account that is read: such a session ends as `not_found`.
_READ_IN_VAIN = text(f"""
    SELECT s.account, count(*) AS sessions, min(s.failing_since) AS failing_since,
        mode() WITHIN GROUP (ORDER BY s.last_error) AS reason, max(a.last_read_at) AS last_read_at,
        EXTRACT(epoch FROM statement_timestamp() - min(s.failing_since))::float AS failing_seconds,
        EXTRACT(epoch FROM statement_timestamp() - max(a.last_read_at))::float AS read_seconds
    FROM payment_sessions AS s
    LEFT JOIN accounts AS a USING (account)
    WHERE s.outcome IS NULL AND s.consecutive_failures >= {FAILURES_IN_VAIN}
        AND (s.not_found_count = 0 OR a.last_read_at IS NULL OR a.last_read_at < s.failing_since)
    GROUP BY 1
    ORDER BY 1
""")  # noqa: S608 - a constant of the domain
_FAILING_SESSIONS = text(f"""
    SELECT session_id, account, consecutive_failures, failing_since, last_error,
        count(*) OVER () AS sessions
    FROM payment_sessions
    WHERE outcome IS NULL AND consecutive_failures >= {FAILURES_IN_VAIN}
        AND failing_since < statement_timestamp() - {interval(SESSION_FAILS_AFTER)}
        AND (not_found_count = 0 OR status IS NOT NULL)
    ORDER BY consecutive_failures DESC, failing_since
    LIMIT 1
""")  # noqa: S608 - constants of the domain
_NOW = text("SELECT clock_timestamp() AS now")


class ProcessReports(RefusedReports):
    """Reports of processes, queues and refused messages; a context manager."""

    def processes_by_role(self) -> list[Row]:
        """Return how many workers and beats are `running`, and when one was last seen or null."""
        return self._rows(PROCESSES_BY_ROLE)

    def processes(self) -> list[Row]:
        """Return the workers and beats that are running."""
        return self._rows(_PROCESSES)

    def queues(self) -> list[Row]:
        """Return what beat saw of each queue."""
        return self._rows(QUEUES)


class HealthReports(ProcessReports, EventReports):
    """Reports for `health`; a context manager."""

    def now(self) -> datetime:
        """Return the server's time."""
        now: datetime = self._rows(_NOW)[0]["now"]
        return now

    def read_in_vain(self) -> list[Row]:
        """Return by account how many sessions have been read in vain, since when and why."""
        return self._rows(_READ_IN_VAIN)

    def worst_failing_session(self) -> Row | None:
        """Return the session that fails most, with how many `sessions` go on failing; or None."""
        found = self._rows(_FAILING_SESSIONS)
        return found[0] if found else None
