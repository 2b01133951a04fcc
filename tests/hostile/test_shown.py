"""Terminals and logs show strings from outside without the effect of control characters."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import structlog

from config import logconfig
from tests.hostile.in_process import InProcess
from tests.hostile.injections import ALL, FORGED, raw_controls
from tests.support.builders import CANARY_TOKEN
from tests.support.processes import BIN
from worker.commands import reading

# What rich itself writes to a terminal.
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def shown_in_process(
    in_process: InProcess, hostile_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in hostile_environment.items():
        monkeypatch.setenv(name, value)
    return in_process


def store(in_process: InProcess, text: str) -> None:
    """Store a session, a transition and an event with the text in every text column."""
    columns = dict.fromkeys(
        ("account", "session_url", "reference", "status", "order_id", "klarna_reference"), text
    )
    in_process.insert(text, **columns, last_error=text)
    in_process.stored.rows(
        "INSERT INTO status_transitions VALUES (%s, 1, %s, %s, now(), now())", text, text, text
    )
    event_id = in_process.stored.add_message(text, 1, sinks=(text,), event_type=text)
    in_process.stored.rows(
        "UPDATE outbox_deliveries SET last_error = %s WHERE event_id = %s", text, event_id
    )


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_show_list_and_stats_print_stored_text_as_text(
    shown_in_process: InProcess, capsys: pytest.CaptureFixture[str], text: str
):
    store(shown_in_process, text)

    reading.show(text, as_json=False)
    reading.list_sessions(as_json=False)
    reading.stats(as_json=False)

    out, err = capsys.readouterr()
    assert raw_controls(out) == []
    assert err == ""
    # Each line of the table of facts begins with what it is of.
    assert not [line for line in out.splitlines() if line.startswith((FORGED, "X-", "2026-01"))]
    if text.isprintable():
        assert re.search(rf"reference +{re.escape(text)}", out)


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_json_holds_the_text_and_no_control_character(
    shown_in_process: InProcess, capsys: pytest.CaptureFixture[str], text: str
):
    store(shown_in_process, text)

    reading.show(text, as_json=True)

    out = capsys.readouterr().out
    assert raw_controls(out) == []
    assert json.loads(out)["reference"] == text


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_an_id_that_is_not_tracked_is_refused_in_one_line(
    shown_in_process: InProcess, capsys: pytest.CaptureFixture[str], text: str
):
    with pytest.raises(SystemExit):
        reading.show(text, as_json=False)

    err = capsys.readouterr().err
    assert raw_controls(err) == []
    assert err.count("\n") == 1
    assert shown_in_process.stored.value("SELECT count(*) FROM payment_sessions") == 0


def test_a_real_terminal_is_sent_styles_and_nothing_else(
    in_process: InProcess, hostile_environment: dict[str, str]
):
    for text in ALL.values():
        in_process.insert(text, reference=text, status=text)

    shown = in_a_terminal([str(BIN / "session-worker"), "list"], hostile_environment)

    assert "Payment sessions" in shown
    assert "\\x1b]0;title\\x07" in shown
    assert raw_controls(_STYLE.sub("", shown).replace("\r\n", "\n")) == []


def in_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    reader, writer = pty.openpty()
    environment = environment | {"TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=writer, stderr=writer, env=environment):
        os.close(writer)
        shown = b""
        # Linux says so when the last writer is gone.
        with suppress(OSError):
            while piece := os.read(reader, 65_536):
                shown += piece
    os.close(reader)
    return shown.decode()


# --- logs


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@contextmanager
def logged_to(stream: io.StringIO) -> Iterator[None]:
    """Configure logging to `stream`, as standard error."""
    root, before = logging.getLogger(), sys.stderr
    handlers, level = root.handlers, root.level
    sys.stderr = stream
    try:
        logconfig.configure("DEBUG")
        yield
    finally:
        sys.stderr = before
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()


def log_everywhere(text: str) -> int:
    """Log the text in every part of a record; return how many records that were."""
    ours, foreign = structlog.get_logger("worker.hostile"), logging.getLogger("celery.hostile")
    ours.warning("poll_dropped", session_id=text, error=text, count=1)
    ours.warning("polls", ids=[text], known={text: text})
    foreign.error("Received unregistered task of type %r", text)
    foreign.error("Received unregistered task of type %s", text)
    foreign.error(text)
    try:
        fail(text, token=CANARY_TOKEN)
    except ValueError:
        ours.exception("poll_crashed", session_id=text)
    return 6


def fail(text: str, *, token: str) -> None:  # noqa: ARG001 - a local that a traceback could show
    raise ValueError(text)


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_log_line_stays_one_line_of_json(text: str):
    stream = io.StringIO()

    with logged_to(stream):
        count = log_everywhere(text)

    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == count
    assert raw_controls(stream.getvalue()) == []
    assert json.loads(lines[0])["session_id"] == text
    assert CANARY_TOKEN not in stream.getvalue()


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_log_line_in_a_terminal_stays_one_line_and_has_no_escapes(text: str):
    stream = Terminal()

    with logged_to(stream):
        log_everywhere(text)

    shown = _STYLE.sub("", stream.getvalue())
    assert raw_controls(shown) == []
    before_traceback, _, traceback = shown.partition("Traceback (most recent call last)")
    lines = before_traceback.split("\n")[:-1]
    assert len(lines) == 6
    assert all(re.match(r"\S+Z? +\[|\S+ \S+ \[", line) for line in lines)
    assert "in fail" in traceback
    assert CANARY_TOKEN not in traceback
