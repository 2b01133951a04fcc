"""How many cases the property tests run, and proof that they did.

HOSTILE_EXAMPLES is the number of all cases together; bin/test runs DEFAULT_TOTAL of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import ceil
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Case = TypeVar("Case")

DEFAULT_TOTAL = 20_500
TOTAL = int(os.environ.get("HOSTILE_EXAMPLES", DEFAULT_TOTAL))
# Each property's share, in so many parts; with `--dist load` they run side by side.
SHARES = {
    "answers": (0.45, 4),
    "headers": (0.22, 2),
    "sent answers": (0.03, 1),
    "task arguments": (0.25, 3),
    "settings": (0.05, 1),
}
# What `conftest` collects from the reports.
PROPERTY = "hostile cases"


def parts(name: str) -> range:
    """Return the parts of a property's cases."""
    return range(SHARES[name][1])


def planned(name: str) -> int:
    """Return how many cases each part of a property runs."""
    share, count = SHARES[name]
    return ceil(TOTAL * share / count)


def run_cases(
    name: str,
    part: int,
    cases: st.SearchStrategy[Case],
    check: Callable[[Case], None],
    record: Callable[[str, object], None],
) -> None:
    """Run one part of a property, and fail where fewer cases ran than were planned."""
    ran = 0

    @settings(
        max_examples=planned(name),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(cases)
    def one(case: Case) -> None:
        nonlocal ran
        ran += 1
        check(case)

    one()
    record(PROPERTY, ran)
    print(f"{name}, part {part}: {ran} cases")  # noqa: T201 - the figure is what is asked for
    if ran < planned(name):
        pytest.fail(f"{ran} of {planned(name)} cases of {name} ran")
