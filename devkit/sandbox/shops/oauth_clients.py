"""OAuth2 access tokens of a shop system: who gets one, and until when it is valid."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from devkit.sandbox.identifiers import Identifiers

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - a credential of the mock server only


@dataclass(slots=True)
class OAuthClients:
    """One client; `lifetime_seconds` of its tokens, and how many it may ask for in a minute."""

    grant_type: str
    lifetime_seconds: float
    per_minute: int = 0
    issued: int = 0
    _valid_until: dict[str, float] = field(default_factory=dict)
    _asked_at: list[float] = field(default_factory=list)

    def admit(self, now: float) -> bool:
        """Count one request for a token; return False over the limit per minute."""
        self._asked_at = [at for at in self._asked_at if at > now - 60.0] + [now]
        return not self.per_minute or len(self._asked_at) <= self.per_minute

    def refusal(self, asked: dict[str, Any]) -> str | None:
        """Return OAuth's error code for a request (RFC 6749, 5.2), or None."""
        if asked.get("grant_type") != self.grant_type:
            return "unsupported_grant_type"
        if (asked.get("client_id"), asked.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return "invalid_client"
        return None

    def issue(self, ids: Identifiers, now: float) -> str:
        """Return a new token."""
        token = f"access-{ids.uuid()}"
        self.issued += 1
        self._valid_until[token] = now + self.lifetime_seconds
        return token

    def revoke_all(self) -> None:
        """Revoke every token."""
        self._valid_until.clear()

    def accepts(self, authorization: bytes | None, now: float) -> bool:
        """Return whether an Authorization header carries a valid token."""
        scheme, _, token = (authorization or b"").decode("latin-1").partition(" ")
        return scheme.lower() == "bearer" and self._valid_until.get(token, 0.0) > now


def fields_of(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a JSON object or of a form; none of anything else."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode("latin-1")))
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
