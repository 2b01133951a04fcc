"""Fifty polls at once of responses that exhaust their reader: typed errors, within bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hostile.bombs import BOMBS, PEAK
from tests.hostile.listening import Listener, answer, say

AT_ONCE = 50
TIMEOUT_SECONDS = 1.0
# The deadline, and what fifty answers take to be read and parsed where the machine is busy.
LONGEST_SECONDS = TIMEOUT_SECONDS + 4
MOST_MEBIBYTES = 100
TYPED = {"protocol_error", "server_error", "deadline_exceeded", "connection_failed"}
Polls = Callable[[int], dict[str, Any]]


@pytest.fixture(scope="module")
def polls(klarna: Listener) -> Iterator[Polls]:
    """Poll so many times at once in a separate process; return its figures."""
    command = [sys.executable, "-m", "tests.hostile.polling", klarna.origin, str(TIMEOUT_SECONDS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:

        def ask(count: int) -> dict[str, Any]:
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture(scope="module")
def idle_kib(klarna: Listener, polls: Polls) -> int:
    """Return the memory of the process after one valid response."""
    klarna.saying = say(answer(b'{"status": "WAITING"}'))
    figures = polls(1)
    assert figures["outcomes"] == {"WAITING": 1}
    return figures["peak_kib"]


@pytest.mark.parametrize("name", BOMBS)
def test_fifty_bombs_at_once_are_typed_errors_in_bounded_time_and_memory(
    klarna: Listener,
    polls: Polls,
    idle_kib: int,
    name: str,
    record_property: Callable[[str, object], None],
):
    klarna.saying = BOMBS[name]

    figures = polls(AT_ONCE)

    above_idle = (figures["peak_kib"] - idle_kib) / 1024
    outcomes = f"{above_idle:.0f} MiB above idle, {figures['seconds']:.1f} s, {figures['outcomes']}"
    print(f"{name}: {outcomes}")  # noqa: T201 - the figure is what is asked for
    record_property(PEAK, round(above_idle, 1))
    assert set(figures["outcomes"]) <= TYPED
    assert sum(figures["outcomes"].values()) == AT_ONCE
    assert figures["seconds"] < LONGEST_SECONDS
    assert above_idle < MOST_MEBIBYTES


def test_after_all_that_sound_answers_are_still_read(klarna: Listener, polls: Polls):
    klarna.saying = say(answer(b'{"status": "WAITING"}'))

    assert polls(AT_ONCE)["outcomes"] == {"WAITING": AT_ONCE}
