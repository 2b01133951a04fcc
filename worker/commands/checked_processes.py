"""Findings of `health` and `check` about workers, beats, queues and refused messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from worker.adapters.postgres.reports.health import ProcessReports
from worker.adapters.postgres.reports.sessions import Row
from worker.commands.findings import Finding
from worker.commands.output import counted, since
from worker.domain.health import SEEN_WITHIN, STANDS_STILL_AFTER


def processes(opened: ProcessReports, *, may_be_new: bool = False) -> Iterator[Finding]:
    """Return a finding for the workers and one for the beats.

    `may_be_new`: a deployment that was never started is only warned of.
    """
    versions = {role: Counter[str]() for role in ("worker", "beat")}
    for process in opened.processes():
        versions[process["role"]][process["version"]] += 1
    for row in opened.processes_by_role():
        role = row["role"]
        seen = ", ".join(f"{number} running {name}" for name, number in versions[role].items())
        if may_be_new and row["seen_at"] is None:
            yield Finding(role, warning=_absence(row))
        else:
            yield Finding(role, _absence(row), detail=seen or "the last one stopped just now")


def queues(opened: ProcessReports) -> Iterator[Finding]:
    """Return a fault for each queue that stands still."""
    limit = STANDS_STILL_AFTER.total_seconds()
    for row in opened.queues():
        if row["unchanged_seconds"] >= limit:
            wait = "1 message waits" if row["waiting"] == 1 else f"{row['waiting']} messages wait"
            yield Finding(
                f"queue {row['queue']}",
                fault=f"{wait}, the oldest for at least {row['unchanged_seconds']:.0f} s "
                f"(since {since(row['unchanged_since'])}), and no worker takes it: restart the "
                "workers that read this queue, and see their logs",
            )


def refused_messages(opened: ProcessReports) -> Iterator[Finding]:
    """Return a fault for each task and field where a person is needed."""
    for row in opened.refused_counts():
        needed = row["waiting"] + row["retried_in_vain"]
        if not needed:
            continue
        in_vain = f", {row['retried_in_vain']} of them retried in vain for over 10 min"
        yield Finding(
            f"refused messages of {row['task']}",
            fault=f"{counted(needed, 'message')} refused because of {row['field']}"
            f"{in_vain if row['retried_in_vain'] else ''}, the oldest for "
            f"{row['oldest_seconds']:.0f} s: `session-worker refused list`, correct the cause, "
            "then `refused retry`, or `refused drop`",
        )


def _absence(row: Row) -> str | None:
    start = f"start one: `celery -A worker {row['role']}`"
    if row["seen_at"] is None:
        return f"none has ever been seen by this database: {start}"
    if row["seen_seconds"] <= SEEN_WITHIN.total_seconds():
        return None
    return (
        f"none has been seen since {since(row['seen_at'])} ({row['seen_seconds']:.0f} s): {start}, "
        "or restart one that hangs"
    )
