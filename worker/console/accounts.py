"""An account's state as the overview shows it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.console.wording import when


class Standing(NamedTuple):
    """The text of a state and its severity: `good`, `warn` or `bad`."""

    text: str
    css: str


def standing(row: Mapping[str, Any]) -> Standing:
    """Return the state of a row of Reports.accounts."""
    if row["refusals"]:
        return Standing("refused by Klarna: correct its credentials", "bad")
    if row["failing_since"]:
        return Standing(f"reads failing since {when(row['failing_since'])}: probed", "bad")
    if row["paused"]:
        return Standing("rate limited by Klarna (429)", "warn")
    if row["breaker"] == "ramping":
        return Standing("recovering: requests increase gradually", "warn")
    return Standing("healthy", "good")
