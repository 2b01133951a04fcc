"""Runs checks side by side, each with a deadline: a server that says nothing stops no other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from worker.adapters import clock
from worker.commands.findings import Finding

DEADLINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A check that may wait for a server; `subject` names it where it gives no answer in time."""

    subject: str
    findings: Callable[[], Iterable[Finding]]
    seconds: float = DEADLINE_SECONDS


@dataclass(slots=True)
class _Running:
    probe: Probe
    deadline: float
    found: list[Finding] = field(default_factory=list)


# A finding, None at the probe's end, or the error that ended it.
_Said = tuple[int, Finding | Exception | None]


def run_probes(
    probes: Sequence[Probe], *, on_found: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Return the findings of all probes in their order; `on_found` gets each once it is known.

    What a probe found before its deadline counts. Its thread is left behind: it ends with the
    process.
    """
    said: queue.SimpleQueue[_Said] = queue.SimpleQueue()
    running: dict[int, _Running] = {}
    for number, probe in enumerate(probes):
        running[number] = _Running(probe, clock.monotonic() + probe.seconds)
        arguments = (number, probe, said)
        threading.Thread(target=_run, args=arguments, name=probe.subject, daemon=True).start()
    found = [each.found for each in running.values()]
    while running:
        for number, finding in _next(said, running):
            running[number].found.append(finding)
            on_found(finding)
    return [finding for each in found for finding in each]


def _next(
    said: queue.SimpleQueue[_Said], running: dict[int, _Running]
) -> Iterator[tuple[int, Finding]]:
    """Wait for the next finding, end or deadline; ended probes leave `running` after their last."""
    wait = min(each.deadline for each in running.values()) - clock.monotonic()
    try:
        number, what = said.get(timeout=max(wait, 0.0))
    except queue.Empty:
        for number, late in list(running.items()):
            if late.deadline <= clock.monotonic():
                yield number, _no_answer(late.probe)
                del running[number]
        return
    if number not in running:
        return
    if isinstance(what, Exception):
        raise what
    if what is None:
        del running[number]
    else:
        yield number, what


def _run(number: int, probe: Probe, said: queue.SimpleQueue[_Said]) -> None:
    try:
        for finding in probe.findings():
            said.put((number, finding))
    except Exception as error:  # noqa: BLE001 - raised again where the command runs
        said.put((number, error))
    else:
        said.put((number, None))


def _no_answer(probe: Probe) -> Finding:
    return Finding(
        probe.subject,
        fault=f"does not respond within {probe.seconds:g} s: does it hang, or does a firewall drop "
        "what is sent?",
    )
