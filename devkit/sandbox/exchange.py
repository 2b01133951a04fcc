"""One request at Klarna's endpoints, from its arrival to the end of its response."""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from devkit.sandbox.accounts import Account
from devkit.sandbox.responses import Response

SESSION_COLLECTIONS = (
    "/hpp/v1/sessions/",
    "/payments/v1/sessions/",
    "/api/klarna_payments/",
    "/api/orders/",
)


@dataclass(slots=True)
class Exchange:
    """A request and the means to respond to it. `session_id` is empty where the path names none."""

    scope: Scope
    receive: Receive
    send: Send
    number: int
    started: float
    method: str
    path: str
    session_id: str
    correlation_id: str
    account: Account | None = None
    status: int | None = None
    _body: bytes | None = field(default=None)

    @property
    def transport(self) -> asyncio.Transport:
        """The connection itself, for what ASGI cannot say.

        Raises:
            RuntimeError: The application does not run under this package's own server.
        """
        transport = self.scope.get("state", {}).get("transport")
        if not isinstance(transport, asyncio.Transport):
            message = "this fault needs the server of devkit.sandbox.serving"
            raise RuntimeError(message)  # noqa: TRY004 - the wrong server, not a wrong argument
        return transport

    async def write(self, response: Response) -> None:
        """Send a response through ASGI."""
        self.status = response.status
        headers = response.headers
        if response.status != HTTPStatus.NO_CONTENT:
            headers = (*headers, (b"content-length", b"%d" % len(response.body)))
        await self.send(start_message(response.status, headers))
        await self.send({"type": "http.response.body", "body": response.body})

    async def body(self) -> bytes:
        """Return the request's body, read once; cut short if the client left."""
        if self._body is None:
            chunks = []
            more = True
            while more:
                message = await self.receive()
                chunks.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(chunks)
        return self._body

    async def client_left(self) -> None:
        """Return once the client has closed the connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def left_within(self, seconds: float) -> bool:
        """Wait that long; True as soon as the client has closed the connection."""
        left = asyncio.ensure_future(self.client_left())
        done, _ = await asyncio.wait({left}, timeout=seconds)
        left.cancel()
        return bool(done)

    def origin(self) -> str:
        """Return `scheme://host:port` as the client named it."""
        host = next((v for k, v in self.scope["headers"] if k == b"host"), b"localhost")
        return f"{self.scope['scheme']}://{host.decode('latin-1')}"


def start_message(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> Message:
    """Return ASGI's message for status line and headers."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def session_id_in(path: str) -> str:
    """Return the id of a session, or of a shop system's resource, in a path; else nothing."""
    for collection in SESSION_COLLECTIONS:
        if path.startswith(collection):
            return path[len(collection) :].partition("/")[0]
    return ""


def authorization_in(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """Return the Authorization header's value, or None."""
    for name, value in headers:
        if name == b"authorization":
            return value
    return None


def header_in(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str:
    """Return a header's value, or nothing."""
    return next((value.decode("latin-1") for name, value in headers if name == wanted), "")
