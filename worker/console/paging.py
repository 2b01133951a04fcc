"""Pages of long lists: where one begins, and the query of the next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from worker.adapters.postgres.reports.console import Place

PAGE_ROWS: Final = 50


def text_of(parameters: Mapping[str, str], name: str) -> str | None:
    """Return a parameter's text without NUL, which Postgres refuses."""
    return parameters.get(name, "").strip().replace("\0", "") or None


def place_of(parameters: Mapping[str, str]) -> Place | None:
    """Return where the page begins: time and id of the last row on the previous page."""
    given = text_of(parameters, "after")
    if given is None:
        return None
    moment, _, identifier = given.partition("~")
    try:
        return datetime.fromisoformat(moment), identifier
    except ValueError:
        raise HTTPException(400, "after: must be taken from a link of the page") from None


def next_query_of(parameters: Mapping[str, str], rows: list[Any], *, id_column: str) -> str | None:
    """Return the next page's query if there are more rows than are shown."""
    if len(rows) <= PAGE_ROWS:
        return None
    last = rows[PAGE_ROWS - 1]
    kept = {name: value for name, value in parameters.items() if name in {"state", "account"}}
    return urlencode(kept | {"after": f"{last['position'].isoformat()}~{last[id_column]}"})
