"""The overview's figures: read from the database once for all visitors."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from worker.adapters.postgres.reports.console import ConsoleReports
from worker.adapters.postgres.reports.detection import BOUNDS
from worker.console import histogram
from worker.domain.health import STANDS_STILL_AFTER

Row = Mapping[str, Any]

# Figures are kept so long, so that several visitors cost no more than one.
FRESH_SECONDS: Final = 5.0
LATE_SECONDS: Final = 120.0
LISTED: Final = 10


class Overview:
    """Returns the overview's context; thread-safe."""

    def __init__(self, reports: ConsoleReports, *, monotonic: Callable[[], float]) -> None:
        self._reports = reports
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._read_at = float("-inf")
        # When the latest read failed, and how.
        self._failure: tuple[float, SQLAlchemyError] | None = None

    def figures(self) -> dict[str, Any]:
        """Return figures that are at most five seconds old.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is unavailable.
        """
        asked_at = self._monotonic()
        with self._lock:
            if self._failure and self._failure[0] >= asked_at:
                # It failed while this visitor waited, who would wait as long again.
                raise self._failure[1]
            if self._monotonic() - self._read_at > FRESH_SECONDS:
                try:
                    self._known = self._read()
                except SQLAlchemyError as error:
                    self._failure = self._monotonic(), error
                    raise
                self._read_at = self._monotonic()
            return self._known

    def _read(self) -> dict[str, Any]:
        reports = self._reports
        detection = reports.detection()
        edges = list(histogram.LAG_EDGES)
        return {
            **_progress(reports.states(), reports.due()),
            "without_order": reports.without_order(limit=LISTED),
            "without_order_counts": reports.without_order_counts(),
            "undelivered": reports.undelivered_payments(limit=LISTED),
            "undelivered_count": reports.undelivered_payments_count(),
            "undelivered_before": reports.undelivered_payments_before(),
            "refused": _refused(reports.refused_counts()),
            "unmatched": reports.unmatched_confirmations(limit=LISTED),
            "accounts": reports.accounts(),
            "processes": reports.processes_by_role(),
            "standing_still": [row for row in reports.queues() if _stands_still(row)],
            "outbox": _by_sink(reports.undelivered(), reports.unavailable_sinks()),
            "detection": detection,
            "detection_bars": histogram.of_cumulative(BOUNDS, detection),
            "detected": sum(row["timed"] for row in detection),
            "lag_bars": histogram.of_buckets(edges, reports.lag_counts(edges)),
        }


def _stands_still(queue: Row) -> bool:
    return bool(queue["unchanged_seconds"] >= STANDS_STILL_AFTER.total_seconds())


def _progress(states: Sequence[Row], due: Sequence[Row]) -> dict[str, Any]:
    by_state, open_by_status = Counter[str](), Counter[str | None]()
    polls_per_second = defaultdict[str, float](float)
    for row in states:
        by_state[row["state"]] += row["sessions"]
        polls_per_second[row["account"]] += row["polls_per_second"]
        if row["state"] == "open":
            open_by_status[row["status"]] += row["sessions"]
    oldest = max((row["oldest_seconds"] or 0.0 for row in due), default=0.0)
    idle = [row["idle_seconds"] for row in states if row["idle_seconds"] is not None]
    return {
        "by_state": by_state,
        "open_by_status": open_by_status.most_common(),
        "polls_per_second": polls_per_second,
        "due": sum(row["due"] for row in due),
        "in_flight": sum(row["in_flight"] for row in due),
        "due_by_account": {row["account"]: row for row in due},
        "oldest_due": oldest,
        "is_late": oldest > LATE_SECONDS,
        "read_lately": sum(row["polled_lately"] for row in states),
        "idle_seconds": min(idle, default=None),
    }


def _refused(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how many refused messages need a person, and the tasks and fields of those."""
    needing = [row for row in rows if row["waiting"] or row["retried_in_vain"]]
    return {
        "waiting": sum(row["waiting"] for row in needing),
        "retried_in_vain": sum(row["retried_in_vain"] for row in needing),
        "rows": needing[:LISTED],
    }


def _by_sink(rows: Sequence[Row], unavailable: Mapping[str, Row]) -> list[dict[str, Any]]:
    """Return a row for each sink that has undelivered events or is unavailable."""
    nothing = {"pending": 0, "dead": 0, "attempts": 0, "oldest_seconds": None}
    names = sorted({row["sink"] for row in rows} | set(unavailable))
    sinks = {name: nothing | {"sink": name, "unavailable": unavailable.get(name)} for name in names}
    for row in rows:
        sink = sinks[row["sink"]]
        sink["pending"] += row["waiting"]
        sink["dead"] += row["dead"]
        sink["attempts"] = max(sink["attempts"], row["most_attempts"])
        sink["oldest_seconds"] = row["oldest_seconds"] or sink["oldest_seconds"]
    return list(sinks.values())
