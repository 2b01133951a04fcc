"""Klarna's endpoints: credentials, limits, faults and routing. The state is in `Sandbox`.

A plain read runs little code: tests read here thousands of times a second.
"""

from starlette.types import Receive, Scope, Send

from devkit.sandbox import clock, hpp_endpoints, kp_endpoints
from devkit.sandbox.exchange import Exchange, authorization_in, session_id_in
from devkit.sandbox.fault_effects import apply_faults
from devkit.sandbox.faults import AnyFault
from devkit.sandbox.responses import Header, Response, html_page, klarna_error, rate_limited
from devkit.sandbox.state import Sandbox


class KlarnaApi:
    """An ASGI application that responds as Klarna, or as the shop system a path belongs to."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._arrived = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request, with its faults."""
        exchange = self._open(scope, receive, send)
        self._sandbox.traffic.open(exchange)
        try:
            faults = self._faults(exchange)
            if faults:
                await apply_faults(faults, exchange, self._sandbox.held, self.respond)
            else:
                await exchange.write(await self.respond(exchange))
        finally:
            self._sandbox.traffic.close(exchange)

    async def respond(self, exchange: Exchange) -> Response:
        """Return Klarna's response, headers included."""
        account = exchange.account
        if self._sandbox.shops.account_of(exchange.path) is not None:
            return await self._sandbox.shops.respond(exchange)
        if account is None:
            return html_page(401)
        if not account.admit():
            return rate_limited()
        response = await _endpoint(self._sandbox, exchange)
        correlation: Header = (b"klarna-correlation-id", exchange.correlation_id.encode())
        headers = (*response.headers, correlation, *account.limit_headers())
        return Response(response.status, response.body, headers)

    def _open(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        self._arrived += 1
        authorization = authorization_in(scope["headers"])
        return Exchange(
            scope=scope,
            receive=receive,
            send=send,
            number=self._arrived,
            started=clock.monotonic(),
            method=scope["method"],
            path=scope["path"],
            session_id=session_id_in(scope["path"]),
            correlation_id=self._sandbox.ids.uuid(),
            account=self._sandbox.shops.account_of(scope["path"])
            or self._sandbox.accounts.by_header(authorization),
        )

    def _faults(self, exchange: Exchange) -> list[AnyFault]:
        faults = self._sandbox.faults.matching(
            method=exchange.method,
            session_id=exchange.session_id,
            account=exchange.account.name if exchange.account else None,
            now=self._sandbox.clock.now(),
        )
        self._sandbox.traffic.note_faults(exchange, faults)
        return faults


async def _endpoint(sandbox: Sandbox, exchange: Exchange) -> Response:
    match exchange.path.strip("/").split("/"):
        case ["hpp", "v1", "sessions", session_id]:
            return hpp_endpoints.session(sandbox, exchange, session_id)
        case ["hpp", "v1", "sessions"]:
            return await hpp_endpoints.sessions(sandbox, exchange)
        case ["payments", "v1", "sessions", session_id]:
            return kp_endpoints.session(sandbox, exchange, session_id)
        case ["payments", "v1", "sessions"]:
            return await kp_endpoints.sessions(sandbox, exchange)
        case ["payments", "v1", "authorizations", token, "order"]:
            return kp_endpoints.order(sandbox, exchange, token)
    return klarna_error(404, exchange.correlation_id, message="No such endpoint.")
