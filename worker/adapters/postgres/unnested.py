"""Rows that travel to Postgres as arrays, a parameter for each column: one statement for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def unnested(prefix: str, types: Mapping[str, str]) -> str:
    """Answer SQL for rows `v` whose columns come as arrays, in parameters with that prefix."""
    arrays = ", ".join(f"CAST(:{prefix}{name} AS {kind}[])" for name, kind in types.items())
    return f"unnest({arrays}) AS v({', '.join(types)})"


def arrays(
    prefix: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """Answer the parameters of `unnested`."""
    return {f"{prefix}{name}": [row[name] for row in rows] for name in types}
