"""Refused messages by filter or by id, and confirmations of sessions that nobody tracked.

Read-only. A role that has no right to the arguments can read all but `arguments`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from worker.adapters.postgres.reports import questions
from worker.adapters.postgres.reports.sessions import Reports, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFilter:
    """Which refused messages to list or change; a field that is None or False matches everything.

    `waiting`: only those that wait for a person. Resolved messages never match, unless `resolved`
    includes them.
    """

    refused_ids: tuple[int, ...] | None = None
    waiting: bool = False
    task: str | None = None
    field: str | None = None
    resolved: bool = False

    def values(self) -> dict[str, Any]:
        """Return the parameters of `MATCHES`."""
        ids = None if self.refused_ids is None else list(self.refused_ids)
        return asdict(self) | {"refused_ids": ids}


MATCHES = """
    (CAST(:refused_ids AS bigint[]) IS NULL OR refused_id = ANY(CAST(:refused_ids AS bigint[])))
    AND (CAST(:task AS text) IS NULL OR task = CAST(:task AS text))
    AND (CAST(:field AS text) IS NULL OR field = CAST(:field AS text))
    AND (NOT CAST(:waiting AS boolean) OR (next_try_at IS NULL AND resolved_at IS NULL))
    AND (CAST(:resolved AS boolean) OR resolved_at IS NULL)
"""
_LISTED = """refused_id, received_at, task, task_id, session_id, reference, field, reason, attempts,
        next_try_at, last_tried_at, resolved_at, resolution"""
_LIST = text(f"""
    SELECT {_LISTED}, received_at AS position
    FROM refused_messages
    WHERE {MATCHES}
        AND (CAST(:after AS timestamptz) IS NULL
            OR (received_at, refused_id::text) < (CAST(:after AS timestamptz), :after_id))
    ORDER BY received_at DESC, refused_id::text DESC
    LIMIT :limit
""")  # noqa: S608 - constants of this module
_MESSAGE = text(f"""
    SELECT {_LISTED} FROM refused_messages WHERE refused_id = :refused_id
""")  # noqa: S608 - constants of this module
_ARGUMENTS = text("SELECT arguments FROM refused_messages WHERE refused_id = :refused_id")


class RefusedReports(Reports):
    """Reports of refused messages; a context manager."""

    def refused_counts(self) -> list[Row]:
        """Return by task and field how many are `waiting`, `retried`, `retried_in_vain`."""
        return self._rows(questions.REFUSED_MESSAGES)

    def unmatched_confirmations(self, *, limit: int) -> list[Row]:
        """Return orders confirmed more than a day ago for sessions that nobody tracked."""
        return self._rows(questions.UNMATCHED_CONFIRMATIONS, limit=limit)

    def refused(
        self,
        wanted: RefusedFilter,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
    ) -> list[Row]:
        """Return the messages that match, the newest first; `after` is the last one known."""
        time, refused_id = after or (None, None)
        rows = self._rows(_LIST, **wanted.values(), limit=limit, after=time, after_id=refused_id)
        return [row | {"waits_for_person": _waits_for_person(row)} for row in rows]

    def refused_message(self, refused_id: int) -> Row | None:
        """Return one message, resolved or not, without its arguments; None if there is none."""
        found = self._rows(_MESSAGE, refused_id=refused_id)
        return found[0] | {"waits_for_person": _waits_for_person(found[0])} if found else None

    def refused_arguments(self, refused_id: int) -> bytes | None:
        """Return a message's encrypted arguments, or None where they are not kept any more."""
        found = self._rows(_ARGUMENTS, refused_id=refused_id)
        return found[0]["arguments"] if found else None


def _waits_for_person(row: Row) -> bool:
    return row["next_try_at"] is None and row["resolved_at"] is None
