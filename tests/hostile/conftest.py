"""The adapters and tasks over real servers, and the figures that the hostile tests report."""

from __future__ import annotations

import pytest

from tests.hostile.cases import PROPERTY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted and measured; test processes send it with their reports."""
    figures = [
        figure
        for report in terminalreporter.stats.get("passed", [])
        for figure in report.user_properties
    ]
    cases = [count for name, count in figures if name == PROPERTY]
    if cases:
        terminalreporter.write_line(f"hostile: {sum(cases)} cases in {len(cases)} parts")
    for name, value in figures:
        if name.startswith("hostile: "):
            terminalreporter.write_line(f"{name}: {value}")
