"""Findings of `check` and `health`: one line each, for people or for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from worker.commands.output import FAILED, console, print_json, printable


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked; `fault` says what is wrong and what to do, None if nothing is."""

    subject: str
    fault: str | None = None
    detail: str = ""


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print all findings."""
    if as_json:
        print_json(
            {
                "ok": not exit_code(findings),
                "findings": [
                    {"subject": f.subject, "ok": f.fault is None, "text": f.fault or f.detail}
                    for f in findings
                ],
            }
        )
        return
    for finding in findings:
        mark = Text("ok   ", "green") if finding.fault is None else Text("fault", "red")
        said = printable(f"{finding.subject}: {finding.fault or finding.detail}")
        console.print(mark, Text(said))


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if any finding is a fault."""
    return FAILED if any(finding.fault for finding in findings) else 0
