"""Many rows as one JSON parameter, so that one prepared statement serves any number of rows.

One array per column would take psycopg twice the time. Psycopg also derives an array's type from
its values: small numbers, or a column of nulls, would need another prepared statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json


def recordset(parameter: str, types: Mapping[str, str]) -> str:
    """Return the SQL of a FROM item `v` with these columns, from that parameter."""
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    return f"json_to_recordset(CAST(:{parameter} AS json)) AS v({columns})"


def as_json(types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the parameter's value: the columns in `types` of each row."""
    columns = [{name: row[name] for name in types} for row in rows]
    return to_json(columns, inf_nan_mode="strings").decode()
