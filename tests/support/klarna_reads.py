"""Reads of payment sessions at the mock Klarna server, or at a server that only listens."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME
from worker.adapters.klarna.client import Credentials
from worker.domain.session import Kind, PaymentSession

CREDENTIALS = Credentials(DEFAULT_USERNAME, DEFAULT_PASSWORD)


def tracked_session(created: CreatedSession, **fields: str) -> PaymentSession:
    """The session that the mock Klarna server made, as the worker tracks it."""
    kind = Kind(created["kind"])
    defaults = {
        "session_id": created["session_id"],
        "account": "default",
        "kind": kind,
        "session_url": created["session_url"],
        "tracked_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return PaymentSession(**(defaults | fields))


def at(server: socket.socket, session_id: str = "some-id") -> PaymentSession:
    """A session that is read at `server`."""
    host, port = server.getsockname()
    return PaymentSession(
        session_id=session_id,
        account="default",
        kind=Kind.HPP,
        session_url=f"http://{host}:{port}/hpp/v1/sessions/{session_id}",
        tracked_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def was_connected_to(server: socket.socket) -> bool:
    """Whether anybody connected to the listening `server`; asked once."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True
