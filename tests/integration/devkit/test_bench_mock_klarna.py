"""The mock Klarna server of the benchmarks responds as Klarna does, and records arrivals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.mock_klarna import ARRIVALS, COMPLETED, HOOK
from tests.support.builders import NOW
from worker.adapters.klarna.wire_models import parse_session
from worker.domain.session import Kind


@pytest.fixture
def klarna() -> Iterator[httpx.Client]:
    times = ["--delay", "0", "--updated-at", NOW.isoformat(), "--expires-at", NOW.isoformat()]
    command = [sys.executable, "-m", "benchmarks.mock_klarna", *times]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with httpx.Client(base_url=process.stdout.readline().strip(), trust_env=False) as client:
            yield client
        process.terminate()


def test_sessions_wait_or_have_completed(klarna: httpx.Client) -> None:
    """What it answers is what the worker reads: a quiet poll, or an authorization."""
    quiet, paid = (
        parse_session(
            klarna.get(f"/hpp/v1/sessions/{session_id}").content,
            kind=Kind.HPP,
            session_id=session_id,
        )
        for session_id in ("some-session", f"{COMPLETED}session")
    )
    assert (quiet.status, quiet.updated_at, quiet.authorization_token) == ("WAITING", NOW, None)
    assert paid.status == "COMPLETED"
    assert paid.authorization_token


def test_it_tells_once_what_came(klarna: httpx.Client) -> None:
    """Requests by their session and webhooks by their event, in order, and then no more."""
    klarna.get("/hpp/v1/sessions/some-session")
    klarna.post(HOOK, headers={"webhook-id": "some-event"}, content=b"{" + b" " * 9000 + b"}")
    assert [name for name, _ in klarna.get(ARRIVALS).json()] == ["some-session", "some-event"]
    assert klarna.get(ARRIVALS).json() == []
