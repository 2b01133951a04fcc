"""A session and the status its script gives it at any moment; no background task, no clock."""

from dataclasses import dataclass, field
from typing import NamedTuple

from devkit.sandbox.identifiers import Identifiers
from devkit.sandbox.responses import json_bytes
from devkit.sandbox.scripts import Change, SessionScript, StatusChange
from devkit.sandbox.session_bodies import Grants, response_body
from devkit.sandbox.timestamps import epoch_seconds, klarna_timestamp

HPP_LIFETIME_SECONDS = 47 * 3600.0
"""Klarna docs, hosted payment page: a session ends one hour before its KP session (48 h)."""
KP_LIFETIME_SECONDS = 48 * 3600.0
"""Klarna docs, Klarna Payments: a session lives 48 hours."""
FIRST_STATUS = {"hpp": "WAITING", "kp": "incomplete"}


class Moment(NamedTuple):
    """From `at` (seconds since the epoch) on, this is what the session shows."""

    at: float
    change: Change


@dataclass(slots=True)
class ScriptedSession:
    """One session. Its history may reach into the future; a read takes what holds by then."""

    script: SessionScript
    session_id: str
    created_at: float
    expires_at: float
    grants: Grants
    history: list[Moment]
    reads: int = 0
    _written: tuple[int, bytes] | None = field(default=None)

    def moment_at(self, now: float) -> Moment:
        """Return what holds at `now`; before its creation, its first moment."""
        return self.history[self._index_at(now)]

    def body_at(self, now: float) -> bytes:
        """Return the JSON a read at `now` gets; encoded once per status: reads are cheap."""
        index = self._index_at(now)
        if self._written is None or self._written[0] != index:
            moment = self.history[index]
            body = response_body(self.script, self.grants, moment.change, moment.at)
            self._written = (index, json_bytes(body))
        return self._written[1]

    def change_status(self, change: StatusChange, now: float) -> None:
        """Set a status from `now` on."""
        later = [moment for moment in self.history if moment.at > now] if change.keep_steps else []
        past = [moment for moment in self.history if moment.at <= now]
        self.history = [*past, Moment(now, change), *later]
        self._written = None

    def gone_at(self, now: float) -> bool:
        """Return whether a read at `now` finds nothing because the session has expired."""
        return self.script.after_expiry == "not_found" and now >= self.expires_at

    def _index_at(self, now: float) -> int:
        for index in range(len(self.history) - 1, 0, -1):
            if self.history[index].at <= now:
                return index
        return 0


def new_session(script: SessionScript, ids: Identifiers, now: float) -> ScriptedSession:
    """Return the session a script describes, created at `now` less `started_ago`."""
    session_id = script.session_id or ids.uuid()
    created_at = now - script.started_ago
    expires_at = _expiry(script, created_at)
    grants = Grants(
        session_id=session_id,
        expires_at=script.expires_at or klarna_timestamp(expires_at),
        authorization_token=script.authorization_token or ids.uuid(),
        order_id=script.order_id or ids.uuid(),
        klarna_reference=script.klarna_reference or ids.reference(),
        client_token=ids.client_token(session_id) if script.kind == "kp" else "",
    )
    history = _history(script, created_at)
    return ScriptedSession(script, session_id, created_at, expires_at, grants, history)


def _expiry(script: SessionScript, created_at: float) -> float:
    if script.expires_at is not None:
        return epoch_seconds(script.expires_at)
    lifetime = HPP_LIFETIME_SECONDS if script.kind == "hpp" else KP_LIFETIME_SECONDS
    return created_at + (lifetime if script.expires_in is None else script.expires_in)


def _history(script: SessionScript, created_at: float) -> list[Moment]:
    moments = [Moment(created_at + step.after, step) for step in script.steps]
    if moments and moments[0].at <= created_at:
        return moments
    first = Change(status=FIRST_STATUS[script.kind], updated_at=script.updated_at)
    return [Moment(created_at, first), *moments]
