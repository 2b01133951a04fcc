"""A deployment in which every secret is a canary, and everything it does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import redis
from cryptography.fernet import Fernet

from tests.support.canaries import Canaries
from tests.support.canary_messages import QUEUE, send_mistakes, send_unreadable
from tests.support.canary_run import ACCOUNTS, TIMEOUT_SECONDS, CanaryRun
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.flower import Flower
from tests.support.roles import Roles
from tests.support.stored import Stored
from tests.support.task_events import TaskEvents
from tests.support.text_locations import Location
from tests.support.tokens import add_authorized
from tests.support.webhook_receiver import a_secret

STREAM = "payment-session-events"
SHOP_QUEUE = "shop-events"
UNDECRYPTABLE = "encrypted-with-another-key"


def secret_environment(
    environment: Mapping[str, str], canaries: Canaries, roles: Roles, run: CanaryRun
) -> dict[str, str]:
    """The environment with a canary for every secret in it, known to the mock Klarna server too."""
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    for number, key in enumerate(keys):
        canaries.add(f"encryption key {number}", key)
    for job, password in roles.passwords.items():
        canaries.add(f"password: database {job}", password)
    for name in ("DATABASE_URL", "REDIS_URL"):
        if password := urlsplit(environment[name]).password:
            canaries.add(f"password: {name} of the server", password)
    made = {
        "DATABASE_URL": roles.url("worker"),
        "KLARNA_PASSWORD": canaries.make("password: klarna default"),
        "TOKEN_ENCRYPTION_KEYS": ",".join(keys),
        "WEBHOOK_URL": "https://shop.invalid/hook",
        "WEBHOOK_SECRETS": canaries.add("webhook secret", a_secret()),
        "COMMERCE_LAYER_CLIENT_SECRET": canaries.make("password: commerce layer"),
        "PAYWAY_CLIENT_SECRET": canaries.make("password: payway"),
        "FLOWER_BASIC_AUTH": f"operator:{canaries.make('password: flower')}",
        "EVENT_SINKS": "redis_stream,celery",
        "CELERY_EVENT_QUEUE": SHOP_QUEUE,
        "HTTP_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "POLL_LEASE_SECONDS": "6",
    }
    run.klarna.put_account(password=made["KLARNA_PASSWORD"])
    for account in ACCOUNTS:
        password = canaries.make(f"password: klarna {account}")
        run.klarna.put_account(account, username=account, password=password)
        variable = f"KLARNA_ACCOUNTS__{account.upper()}__"
        made |= {f"{variable}USERNAME": account, f"{variable}PASSWORD": password}
        made[f"{variable}BASE_URL"] = environment["KLARNA_BASE_URL"]
    return {**environment, **made}


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryDeployment:
    """`stored` and `owner_url` use the role that owns the database."""

    deployed: Deployment
    run: CanaryRun
    canaries: Canaries
    stored: Stored
    owner_url: str
    watching: Flower
    client: redis.Redis

    def exercise(self) -> list[Location]:
        """Run every path; return the texts that were shown, by location."""
        self.deployed.start_all("worker", "beat")
        worker = self.watching.wait_until_it_sees_a_worker()
        with TaskEvents(self.deployed.shop) as events:
            failing = self._poll_that_fails()
            self._undecryptable()
            self.run.create_all()
            for session_id, arguments in self.run.tracked.items():
                self.deployed.track(session_id, **arguments)
            read = self._read_once()
            mistakes = send_mistakes(
                self.deployed.shop,
                self.canaries,
                klarna_url=self.deployed.environment["KLARNA_BASE_URL"],
                read_id=read,
            )
            send_unreadable(self.deployed.shop, self.canaries)
            locations = self._shown_while_active(worker, read)
            assert mistakes == {each: events.end_of(each)["type"] for each in mistakes}
            self._wait_for_the_end(failing)
            locations += self.watching.locations(worker)
            locations.append(("task events", json.dumps(events.all())))
        return locations

    def _poll_that_fails(self) -> str:
        """A session whose record crashes: the token is in every frame of the traceback."""
        session_id = self.run.create("a traceback")
        self.stored.rows(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'a fault of ours' USING ERRCODE = '22023'; END $$"
        )
        self.stored.rows(
            "CREATE TRIGGER fail BEFORE UPDATE ON payment_sessions FOR EACH ROW"
            f" WHEN (NEW.session_id = '{session_id}' AND NEW.status = 'COMPLETED')"
            " EXECUTE FUNCTION fail()"
        )
        return session_id

    def _undecryptable(self) -> None:
        """An authorization whose token was encrypted with a key that nobody has any more."""
        token = self.canaries.make("token: of another key")
        another = Fernet.generate_key().decode()
        add_authorized(self.stored, UNDECRYPTABLE, token, key=another, delivered=False)

    def _read_once(self) -> str:
        created = self.run.klarna.create_session(expires_in=3600)
        session_id = created["session_id"]
        self.deployed.track(session_id, reference="order-1")
        eventually(
            lambda: (self.deployed.session(session_id) or {}).get("status"),
            because="the session is read",
        )
        return session_id

    def _shown_while_active(self, worker: str, session_id: str) -> list[Location]:
        """Flower's worker page while a task holds a create answer with personal data in it."""
        answer = {
            "session_id": session_id,
            "customer": self.run.person("a create answer"),
            "qr_code_url": f"https://x.invalid/{self.canaries.make('argument: a QR code')}",
        }
        with _row_held(self.owner_url, session_id):
            for waits in (None, 3):
                self.deployed.shop.send_task(
                    "payment_sessions.track_created",
                    args=[answer],
                    queue=QUEUE,
                    countdown=waits,
                )
            shown = eventually(
                lambda: (
                    text if (text := self.watching.active(worker)).count(session_id) > 1 else ""
                ),
                because="Flower shows the task under way and the one that waits for its time",
            )
        return [("Flower's worker page with tasks on it", shown)]

    def _wait_for_the_end(self, failing: str) -> None:
        for word in ("poll_crashed", "delivery_failed", UNDECRYPTABLE):
            eventually(lambda word=word: word in self.deployed.logs(), because=f"{word} is logged")
        self.stored.rows("DROP TRIGGER fail ON payment_sessions")
        self.stored.run_out(failing)
        outcomes = self.deployed.wait_for_outcomes(*self.run.tokens)
        assert set(outcomes.values()) == {"completed"}
        for session_id in self.run.tokens:
            self.deployed.received_of(session_id)
        eventually(
            lambda: not self.client.exists(QUEUE, "payment-sessions:unacked"),
            because="every message was taken and acknowledged",
        )


@contextmanager
def _row_held(url: str, session_id: str) -> Iterator[None]:
    """Lock the session's row."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT FROM payment_sessions WHERE session_id = %s FOR UPDATE", [session_id]
        )
        yield
