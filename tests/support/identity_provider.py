"""An identity provider as Flower's Okta handler speaks to one, on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "flower", "a-made-up-client-secret"
CODE, ACCESS_TOKEN = "a-made-up-code", "a-made-up-access-token"


class _Provider(BaseHTTPRequestHandler):
    """Every visitor is logged in as the server's one user."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/v1/authorize" and asked["client_id"] == CLIENT_ID:
            answer = urlencode({"code": CODE, "state": asked["state"]})
            self._answer(302, location=f"{asked['redirect_uri']}?{answer}")
        elif self.headers.get("Authorization") == f"Bearer {ACCESS_TOKEN}":
            self._answer(200, {"email": self.server.email, "email_verified": True})
        else:
            self._answer(401)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        right = form["client_secret"] == [CLIENT_SECRET] and form["code"] == [CODE]
        self._answer(200 if right else 401, {"access_token": ACCESS_TOKEN} if right else None)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, code: int, body: object = None, **headers: str) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def identity_provider(email: str) -> Iterator[str]:
    """Serve it for this user; returns its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as server:
        server.email = email
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
