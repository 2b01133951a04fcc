"""Findings of `check` and `health`: one line each, for people or for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from worker.commands.output import FAILED, console, print_json, printable


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked; `fault` says what is wrong and what to do, None if nothing is.

    A `warning` may be correct as it is: it does not change the exit code. `business`: the fault is
    the shop's, Klarna's or a receiver's, while the deployment itself works.
    """

    subject: str
    fault: str | None = None
    detail: str = ""
    warning: str | None = None
    business: bool = False

    @property
    def text(self) -> str:
        """The fault, the warning, or the detail."""
        return self.fault or self.warning or self.detail


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print all findings."""
    if as_json:
        print_json({"ok": not exit_code(findings), "findings": [_fields(f) for f in findings]})
        return
    for finding in findings:
        print_finding(finding)


def print_finding(finding: Finding) -> None:
    """Print one line for people."""
    line = f"{finding.subject}: {finding.text}{' [business]' * finding.business}"
    console.print(_mark(finding), Text(printable(line)))


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "subject": finding.subject,
        "ok": finding.fault is None,
        "warning": finding.warning is not None,
        "business": finding.business,
        "text": finding.text,
    }


def _mark(finding: Finding) -> Text:
    if finding.fault is not None:
        return Text("fault", "red")
    return Text("ok   ", "green") if finding.warning is None else Text("warn ", "yellow")


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if any finding is a fault."""
    return FAILED if any(finding.fault for finding in findings) else 0
