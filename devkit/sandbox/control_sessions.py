"""Control of sessions: create from a script, show, change."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from devkit.sandbox import hpp_endpoints, kp_endpoints
from devkit.sandbox.control_models import (
    SCRIPT,
    SCRIPTS,
    STATUS_CHANGE,
    WrongInputError,
    validated,
)
from devkit.sandbox.scripts import SessionScript
from devkit.sandbox.sessions import ScriptedSession
from devkit.sandbox.state import DuplicateSessionError, Sandbox
from devkit.sandbox.timestamps import klarna_timestamp


class SessionControl:
    """The `/sessions` endpoints of the control API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes, relative to `/_sandbox`."""
        return [
            Route("/sessions", self.create, methods=["POST"]),
            Route("/sessions/bulk", self.create_many, methods=["POST"]),
            Route("/sessions/default", self.set_default, methods=["PUT"]),
            Route("/sessions/{session_id}", self.show, methods=["GET"]),
            Route("/sessions/{session_id}/status", self.change_status, methods=["POST"]),
        ]

    async def create(self, request: Request) -> JSONResponse:
        """Create one scripted session."""
        session = self._create(validated(SCRIPT, await request.body()))
        return JSONResponse(_creation(session, _origin(request)), 201)

    async def create_many(self, request: Request) -> JSONResponse:
        """Create the sessions of a list of scripts; none of them if one id is in use."""
        scripts = validated(SCRIPTS, await request.body())
        self._refuse_taken(scripts)
        origin = _origin(request)
        created = [_creation(self._create(script), origin) for script in scripts]
        return JSONResponse({"sessions": created}, 201)

    async def set_default(self, request: Request) -> JSONResponse:
        """Set the script of sessions created through Klarna's own endpoints."""
        self._sandbox.new_session_script = validated(SCRIPT, await request.body())
        return JSONResponse({})

    async def show(self, request: Request) -> JSONResponse:
        """Show a session's status, its history and how often it was read."""
        return JSONResponse(self._view(self._named(request)))

    async def change_status(self, request: Request) -> JSONResponse:
        """Set a session's status by hand."""
        session = self._named(request)
        self._sandbox.change_status(session, validated(STATUS_CHANGE, await request.body()))
        return JSONResponse(self._view(session))

    def _create(self, script: SessionScript) -> ScriptedSession:
        self._refuse_unknown_account(script)
        try:
            return self._sandbox.create(script)
        except DuplicateSessionError as error:
            raise WrongInputError([("session_id", str(error))]) from error

    def _refuse_unknown_account(self, script: SessionScript) -> None:
        if self._sandbox.accounts.by_name(script.account) is None:
            raise WrongInputError([("account", f"no account {script.account!r}")])

    def _refuse_taken(self, scripts: list[SessionScript]) -> None:
        taken = set(self._sandbox.sessions)
        for index, script in enumerate(scripts):
            self._refuse_unknown_account(script)
            if script.session_id in taken:
                message = f"a session {script.session_id!r} exists already"
                raise WrongInputError([(f"{index}.session_id", message)])
            if script.session_id is not None:
                taken.add(script.session_id)

    def _named(self, request: Request) -> ScriptedSession:
        session_id = request.path_params["session_id"]
        session = self._sandbox.sessions.get(session_id)
        if session is None:
            raise WrongInputError([("session_id", f"no session {session_id!r}")])
        return session

    def _view(self, session: ScriptedSession) -> dict[str, Any]:
        now = self._sandbox.clock.now()
        moment = session.moment_at(now)
        return _identity(session) | {
            "status": moment.change.status,
            "status_at": klarna_timestamp(moment.at),
            "created_at": klarna_timestamp(session.created_at),
            "reads": session.reads,
            "orders": self._sandbox.authorizations.orders_of(session),
            "history": [
                {"status": m.change.status, "at": klarna_timestamp(m.at), "reached": m.at <= now}
                for m in session.history
            ],
        }


def _identity(session: ScriptedSession) -> dict[str, Any]:
    grants = session.grants
    return {
        "session_id": session.session_id,
        "kind": session.script.kind,
        "account": session.script.account,
        "expires_at": grants.expires_at,
        "authorization_token": grants.authorization_token,
        "order_id": grants.order_id,
        "klarna_reference": grants.klarna_reference,
    }


def _creation(session: ScriptedSession, origin: str) -> dict[str, Any]:
    """Return the session's identity and, as `response`, what Klarna would return."""
    if session.script.kind == "hpp":
        path, response = "hpp/v1/sessions", hpp_endpoints.creation_response(session, origin)
    else:
        path, response = "payments/v1/sessions", kp_endpoints.creation_response(session)
    session_url = f"{origin}/{path}/{session.session_id}"
    return _identity(session) | {"session_url": session_url, "response": response}


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"
