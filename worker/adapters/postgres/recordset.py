"""Rows that travel to Postgres in one parameter, as JSON: one statement for however many.

An array for each column would cost psycopg twice the time, and its type goes by the values: numbers
that are small, or columns that are all None, would be another statement to prepare and to keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json


def recordset(parameter: str, types: Mapping[str, str]) -> str:
    """Return SQL for rows `v` with these columns, which come in that parameter."""
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    return f"json_to_recordset(CAST(:{parameter} AS json)) AS v({columns})"


def as_json(types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the parameter: of each row the columns that `types` names."""
    columns = [{name: row[name] for name in types} for row in rows]
    return to_json(columns, inf_nan_mode="strings").decode()
