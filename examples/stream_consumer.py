"""A shop's consumer of the event stream: places the order of each paid session, once.

    pip install redis celery
    REDIS_URL=… KLARNA_USERNAME=… KLARNA_PASSWORD=… python stream_consumer.py

Run as many as you like, each under a CONSUMER name of its own. Ctrl-C or SIGTERM ends it after the
entry it is at; what a killed one had in hand, another takes over after STALE_SECONDS. Without Redis
it ends with an error: let whatever runs it start it again.

What was done is remembered in the SQLite file SHOP_DATABASE, beside the orders and in the same
transaction. A shop has its own database there.
"""

import base64
import http.client
import json
import os
import signal
import socket
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from typing import Any

import redis
from celery import Celery

STREAM = os.environ.get("EVENT_STREAM", "payment-session-events")
GROUP = "shop"
CONSUMER = os.environ.get("CONSUMER", socket.gethostname())
STALE_SECONDS = float(os.environ.get("STALE_SECONDS", "60"))  # longer than placing an order takes
KLARNA = os.environ.get("KLARNA_BASE_URL", "https://api.klarna.com")
LOGIN = f"{os.environ['KLARNA_USERNAME']}:{os.environ['KLARNA_PASSWORD']}"
ORDER_LINES = {
    "purchase_country": "SE",
    "purchase_currency": "SEK",
    "order_amount": 10000,
    "order_lines": [{"name": "Hat", "quantity": 1, "unit_price": 10000, "total_amount": 10000}],
}

TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    session_id TEXT PRIMARY KEY, reference TEXT, state TEXT NOT NULL, order_id TEXT
);
CREATE TABLE IF NOT EXISTS processed_events (event_id TEXT PRIMARY KEY);
"""


class TryAgainLaterError(Exception):
    """Nothing is known to have happened: the entry stays unacknowledged, and comes again."""


class Shop:
    """The shop's side: its database, its Klarna account, and the word back to the worker."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._tasks = Celery("shop", broker=os.environ["REDIS_URL"])
        # A broker that hangs is an error within 5 seconds.
        self._tasks.conf.update(
            broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 2},
            task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
        )
        database.executescript(TABLES)

    def act_once(self, event: dict[str, Any]) -> None:
        """Do what an event asks for, unless that was done before."""
        if not self._knows(event["id"]):
            if event["type"] == "payment_session.authorized":
                self._place_order(event)
            elif event["type"] == "payment_session.order_placed":  # by Klarna: PLACE_ORDER
                self._remember(event, "placed", event["data"]["order_id"])
            else:  # release the cart, tell somebody
                self._remember(event)
        self._confirm(event["data"]["session_id"])

    def _place_order(self, event: dict[str, Any]) -> None:
        data = event["data"]
        asked = "SELECT 1 FROM orders WHERE session_id = ? AND state = 'placing'"
        tried_before = self._database.execute(asked, (data["session_id"],)).fetchone() is not None
        # Written down before the call: if this process dies in it, the next one knows.
        with self._database:
            self._database.execute(
                "INSERT INTO orders (session_id, reference, state) VALUES (?, ?, 'placing')"
                " ON CONFLICT (session_id) DO UPDATE SET state = 'placing' WHERE order_id IS NULL",
                (data["session_id"], data["reference"]),
            )
        state, order_id = place_at_klarna(
            data.get("authorization_token"), data["reference"], tried_before=tried_before
        )
        self._remember(event, state, order_id)

    def _knows(self, event_id: str) -> bool:
        asked = "SELECT 1 FROM processed_events WHERE event_id = ?"
        return self._database.execute(asked, (event_id,)).fetchone() is not None

    def _remember(
        self, event: dict[str, Any], state: str | None = None, order_id: str | None = None
    ) -> None:
        """The order and the event's id in one transaction: both, or neither."""
        data = event["data"]
        with self._database:
            if state:
                self._database.execute(
                    "INSERT INTO orders (session_id, reference, state, order_id)"
                    " VALUES (?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
                    " SET state = excluded.state, order_id = excluded.order_id"
                    " WHERE orders.order_id IS NULL",
                    (data["session_id"], data["reference"], state, order_id),
                )
            self._database.execute(
                "INSERT INTO processed_events VALUES (?) ON CONFLICT DO NOTHING", (event["id"],)
            )
        print(event["type"], data["session_id"], data["reference"], state or "noted", flush=True)

    def _confirm(self, session_id: str) -> None:
        """Tell the worker, which else warns that the authorization runs out. Twice is no harm."""
        asked = "SELECT order_id FROM orders WHERE session_id = ? AND order_id IS NOT NULL"
        for (order_id,) in self._database.execute(asked, (session_id,)).fetchall():
            self._tasks.send_task(
                "payment_sessions.confirm_order",
                args=[session_id, order_id],
                queue="payment-sessions",
            )


def place_at_klarna(
    token: str | None, reference: str | None, *, tried_before: bool
) -> tuple[str, str | None]:
    """Place the order; returns what became of it, and Klarna's order id where that is known.

    Klarna takes a token once, however often it is asked, so asking again is safe. It answers 403
    where an order was placed with the token already: by us, in a call whose answer got lost. Its
    id is then found in Klarna's Merchant Portal, by the reference. "unclear" has to be looked up
    there too, for there may be an order or none; the worker goes on warning of it.
    """
    gone = "unclear" if tried_before else "too_late"
    if token is None:
        return gone, None  # the worker erases a token when its hour is over
    request = urllib.request.Request(  # noqa: S310 - Klarna's own address, from the settings
        f"{KLARNA}/payments/v1/authorizations/{token}/order",
        data=json.dumps(ORDER_LINES | {"merchant_reference1": reference}).encode(),
        headers={
            "Authorization": f"Basic {base64.b64encode(LOGIN.encode()).decode()}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
            return "placed", json.load(answer)["order_id"]
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.NOT_FOUND:
            return gone, None
        # Without an error object it is no word on the token, but of what stands before Klarna.
        if error.code == http.HTTPStatus.FORBIDDEN and _is_klarnas_word(error):
            return ("placed_id_unknown" if tried_before else "unclear"), None
        raise TryAgainLaterError(f"Klarna answered {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The text of the error is left out: it may hold the address, and with it the token.
        raise TryAgainLaterError(type(error).__name__) from None


def _is_klarnas_word(error: urllib.error.HTTPError) -> bool:
    try:
        return b'"error_code"' in error.read(65536)
    except (OSError, http.client.HTTPException):
        return False


class Entries:
    """The stream, read by a consumer group. The worker's own group `generation:…` is not ours."""

    def __init__(self, server: Any) -> None:  # noqa: ANN401 - redis-py is of two minds
        self._server = server

    def take(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What somebody left unacknowledged for STALE_SECONDS, else what is new."""
        stale = int(STALE_SECONDS * 1000)
        try:
            _, left, *_ = self._server.xautoclaim(STREAM, GROUP, CONSUMER, stale, count=10)
            # Redis 6.2 gives no id for an entry that was trimmed.
            if left := [entry for entry in left if entry[0]]:
                return left
            answer = self._server.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=10, block=1000)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # The first start; or Redis lost the stream, and its events are being sent again.
            # From the beginning, and with MKSTREAM: the shop may be up before the first event.
            self._server.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            return []
        return answer[0][1] if answer else []

    def done(self, entry_id: bytes) -> None:
        """Acknowledge: it does not come again."""
        self._server.xack(STREAM, GROUP, entry_id)


def main() -> None:
    """Take entries until a signal stops it."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # The socket waits longer than a read blocks.
    server = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=30)
    path = os.environ.get("SHOP_DATABASE", "shop.sqlite3")
    with closing(sqlite3.connect(path, timeout=20)) as database, server:
        shop, entries = Shop(database), Entries(server)
        print("consuming", flush=True)
        while not stopping:
            for entry_id, fields in entries.take():
                if stopping:
                    break
                if fields:  # empty: trimmed before anybody took it
                    try:
                        shop.act_once(json.loads(fields[b"event"]))
                    except TryAgainLaterError as error:
                        print(f"later: {error}", flush=True)
                        continue
                entries.done(entry_id)


if __name__ == "__main__":
    main()
