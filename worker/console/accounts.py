"""How an account is doing, in the words of the overview. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.console.wording import when


class Standing(NamedTuple):
    """What a person is told, and how bad it is: `good`, `warn` or `bad`."""

    text: str
    css: str


def standing(row: Mapping[str, Any]) -> Standing:
    """Return what a row of Reports.accounts comes to."""
    if row["refusals"]:
        return Standing("refused by Klarna: check its credentials", "bad")
    if row["failing_since"]:
        return Standing(f"its reads fail since {when(row['failing_since'])}: probed", "bad")
    if row["paused"]:
        return Standing("paused by Klarna (429)", "warn")
    if row["breaker"] == "ramping":
        return Standing("came back: asked more and more again", "warn")
    return Standing("reading", "good")
