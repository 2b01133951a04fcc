"""How long status changes took to be detected, in the last day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from worker.adapters.postgres.reports.questions import LAST_DAY

# The bounds of the histogram, in seconds.
BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 2400)
HISTOGRAM = {f"within_{bound}_s": bound for bound in BOUNDS}
_WITHIN = ", ".join(
    f"count(*) FILTER (WHERE delay <= {bound}) AS {name}" for name, bound in HISTOGRAM.items()
)
# A session's first transition is left out: it may have been tracked long after it was created.
# A transition without a time from Klarna is counted, but its delay is not known.
DELAYS = text(f"""
    SELECT to_status AS status, count(*) AS transitions, count(delay) AS timed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY delay) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY delay) AS p95_seconds,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY delay) AS p99_seconds,
        {_WITHIN}
    FROM (
        SELECT to_status, EXTRACT(epoch FROM observed_at - NULLIF(occurred_at, observed_at))::float
            AS delay
        FROM status_transitions
        WHERE observed_at > statement_timestamp() - {LAST_DAY} AND from_status IS NOT NULL
    ) AS last_day
    GROUP BY 1
    ORDER BY 1
""")  # noqa: S608 - constants of this module


def without_bounds(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the percentiles of a row of DELAYS."""
    return {name: value for name, value in row.items() if name not in HISTOGRAM}


def histogram(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cumulative counts of a row of DELAYS."""
    return {"status": row["status"]} | {name: row[name] for name in HISTOGRAM}
