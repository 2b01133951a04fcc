"""An event as sinks get it, and the URL of a server that does not run."""

from __future__ import annotations

ENVELOPE = {
    "specversion": "1.0",
    "id": "0a3f0a3f-0000-4000-8000-000000000001",
    "type": "payment_session.authorized",
    "subject": "s1",
    "data": {"session_id": "s1", "authorization_token": "canary-token", "reference": "Ä"},
}
# A port that nothing listens on: reserved, and refused at once on every machine.
NOBODY = "redis://127.0.0.1:1/0"
