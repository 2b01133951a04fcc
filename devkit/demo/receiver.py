"""A shop's webhook endpoint: it accepts events whose signature is valid."""

from __future__ import annotations

import base64
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

ACCEPTED = 204
REFUSED = 400


class WebhookReceiver:
    """A context manager; `received` keeps every verified event in order, repeats included."""

    def __init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.received: list[dict[str, Any]] = []
        self.refused = 0
        self._hook = Webhook(self.secret)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhook-receiver")

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/klarna-events"

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        """Return the status code for one request."""
        try:
            self.received.append(self._hook.verify(body, headers))
        except WebhookVerificationError:
            self.refused += 1
            return REFUSED
        return ACCEPTED

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(receiver.receive(body, dict(self.headers)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing: the demo prints what it received."""

    return Handler
