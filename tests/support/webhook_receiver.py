"""A shop's webhook endpoint over real HTTP: keeps what it receives; responds as the test says."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook


def a_secret() -> str:
    """A new signing secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, after the reference verifier has checked its signature."""
        return Webhook(secret).verify(self.body, self.headers)

    def cloud_event(self) -> Any:  # noqa: ANN401 - the SDK's class
        """What the CloudEvents SDK reads."""
        return from_http_event(HTTPMessage(self.headers, self.body))


class WebhookReceiver:
    """`received` has every request; `answer` is the status code, `headers` go with it."""

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        self.received: list[Received] = []
        self.answer = 204
        self.headers: dict[str, str] = {}
        # While it is cleared, requests are read and not answered.
        self.answering = threading.Event()
        self.answering.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}/hook"

    def take(self, request: BaseHTTPRequestHandler) -> None:
        """Keep a request and answer it."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body))
        self.answering.wait(60)
        request.send_response(self.answer)
        for name, value in ({"Content-Length": "0"} | self.headers).items():
            request.send_header(name, value)
        request.end_headers()

    def serve(self) -> None:
        """Serve until `close`."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Release waiting requests, and stop."""
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def webhook_receiver(**options: str) -> Iterator[WebhookReceiver]:
    """A receiver that is stopped at the end."""
    receiver = WebhookReceiver(**options)
    thread = threading.Thread(target=receiver.serve, name="webhook-receiver", daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.close()
        thread.join(10)
