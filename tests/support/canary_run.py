"""Lives of payment sessions that end well past every error, with canaries in all that is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from devkit.sandbox.server import SandboxClient
from tests.support.canaries import Canaries

# Each pauses or slows its own account, and no other's sessions.
ACCOUNTS = ("refused", "forbidden", "limited")
TIMEOUT_SECONDS = 1

Fault = Callable[[str], dict[str, Any]]


@dataclass(slots=True)
class CanaryRun:
    """Paid sessions at the mock Klarna server: `tokens` and the arguments to track them, by id."""

    klarna: SandboxClient
    canaries: Canaries
    tokens: dict[str, str] = field(default_factory=dict)
    tracked: dict[str, dict[str, str]] = field(default_factory=dict)

    def create_all(self) -> None:
        """A session for each error path, which is met once, at the first read; and healthy ones."""
        for name, fault in self._faults():
            session_id = self.create(name, account=name if name in ACCOUNTS else "default")
            fields = fault(self.tokens[session_id])
            self.klarna.add_fault(fields.pop("kind"), times=1, session_id=session_id, **fields)
        self.create("a healthy life")
        self.create("a KP session", kind="kp", steps=[[0, "authorized"]])

    def create(
        self, name: str, *, account: str = "default", kind: str = "hpp", **script: object
    ) -> str:
        """Create a paid session with a token and a person of its own; returns its id."""
        person, token = self.person(name), self.canaries.make(f"token: {name}")
        fields = {
            "steps": [[0, "COMPLETED"]],
            "expires_in": 3600,
            "customer": person,
            "extra": {"billing_address": person, "merchant_data": json.dumps(person)},
        }
        if kind == "hpp":
            fields["manual_identification"] = person
        created = self.klarna.create_session(
            **(fields | script), account=account, kind=kind, authorization_token=token
        )
        session_id = created["session_id"]
        self.tokens[session_id] = token
        self.tracked[session_id] = {"account": account, "kind": kind}
        return session_id

    def person(self, name: str) -> dict[str, str]:
        """Obviously nobody's data."""
        return {
            "given_name": self.canaries.make(f"person: given name, {name}"),
            "email": f"{self.canaries.make(f'person: email, {name}')}@example.invalid",
            "national_identification_number": self.canaries.make(f"person: number, {name}"),
        }

    def _faults(self) -> Iterator[tuple[str, Fault]]:
        for name, code in (
            ("bad request", 400),
            ("refused", 401),
            ("forbidden", 403),
            ("not found", 404),
            ("limited", 429),
            ("server error", 500),
            ("unavailable", 503),
        ):
            yield name, _echo(code)
        for name, body in _MALFORMED.items():
            yield f"malformed: {name}", _echo(200, body)
        yield "timeout", lambda _: {"kind": "delay", "delay_seconds": TIMEOUT_SECONDS * 2.0}
        yield "slow body", lambda _: {"kind": "drip", "interval_seconds": 0.2}
        yield "half a body", lambda _: {"kind": "truncated"}
        yield "reset", lambda _: {"kind": "reset"}
        yield (
            "redirect",
            lambda token: {"kind": "redirect", "location": f"http://x.invalid/{token}"},
        )
        yield "no HTTP", lambda token: {"kind": "raw", "text": f"{token}\r\n\r\n"}
        yield "status line", lambda token: {"kind": "raw", "text": f"HTTP/1.1 {token} OK\r\n\r\n"}
        yield (
            "header line",
            lambda token: {
                "kind": "raw",
                "text": f"HTTP/1.1 200 OK\r\n{token} {token}\r\n\r\n",
            },
        )
        yield "cookie", lambda token: {"kind": "set_cookie", "cookie": f"session={token}; Path=/"}


_MALFORMED = {
    "no JSON": "{token}, and no JSON",
    "half JSON": '{{"authorization_token": "{token}", "status":',
    "no object": '["{token}"]',
    "no status": '{{"authorization_token": "{token}"}}',
    "status of a wrong type": '{{"status": {{"COMPLETED": "{token}"}}}}',
    "token of a wrong type": '{{"status": "COMPLETED", "authorization_token": ["{token}"]}}',
    "half a character": '{{"status": "COMPLETED", "authorization_token": "\\ud800{token}"}}',
    "time that is none": '{{"status": "WAITING", "updated_at": "{token}"}}',
    "another session": '{{"status": "WAITING", "session_id": "{token}"}}',
    "person of a wrong type": '{{"status": "WAITING", "customer": "{token}"}}',
}


def _echo(code: int, body: str | None = None) -> Fault:
    """An answer that repeats the session's token wherever one can be put."""

    def fault(token: str) -> dict[str, Any]:
        error = {"error_code": token, "error_messages": [token], "authorization_token": token}
        return {
            "kind": "exact",
            "code": code,
            "body": json.dumps(error) if body is None else body.format(token=token),
            "headers": [
                ["Content-Type", "application/json"],
                ["Klarna-Correlation-Id", f"{token} {token}"],
                ["X-Echo", token],
            ],
        }

    return fault
