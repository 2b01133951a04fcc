"""What shops send, right and wrong in all known ways, and how each message must end."""

from __future__ import annotations

import json
import os
import pickle
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kombu import Connection, Producer

from tests.support.deployment import Deployment

QUEUE = "payment-sessions"
TRACK = "payment_sessions.track"
# Known to the workers of the newer release alone.
NEW_ACCOUNT = "nordic"
# More than a message may unpack to.
TOO_LARGE = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trap:
    """Makes a folder where it is unpickled."""

    folder: str

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        """What pickle calls."""
        return os.mkdir, (self.folder,)


class IntakeMessages:
    """Sends messages, each of a session of its own, and says which have not ended rightly.

    `session_ids` are Klarna's, as many as messages are sent at most.
    """

    def __init__(self, deployment: Deployment, session_ids: list[str], trap: Path) -> None:
        self._deployment = deployment
        environment = deployment.environment
        self._url = environment.get("BROKER_URL", environment["REDIS_URL"])
        self._fresh = list(session_ids)
        self._trap = trap
        self.tracked: dict[str, str | None] = {}
        self.refused: set[str] = set()
        self.delayed: list[str] = []
        self._may_be_kept: set[str] = set()
        self._sent = 0
        self._kinds = (
            self._bad_id,
            self._track_in_new_account,
            self._pickled,
            self._track_with_wrong_options,
            self._unknown_account,
            self._unknown_task,
            self._confirm_early,
            self._of_celery,
            self._wrong_shape,
            self._track_uuid,
            self._too_large,
            self._track_expired,
            self._unknown_argument,
            self._track_later,
        )

    def send(self, count: int) -> None:
        """Send messages; each third one is wrong or odd, in turn in every way."""
        for _ in range(count):
            if self._sent % 3:
                self._track()
            else:
                self._kinds[self._sent // 3 % len(self._kinds)]()
            self._sent += 1

    def unsettled(self) -> list[str]:
        """What has not happened yet, or must not have happened; a few lines."""
        return [f"{name}: {len(ids)}, such as {ids[:3]}" for name, ids in self._faults() if ids]

    def waiting(self) -> int:
        """How many messages no worker holds."""
        with Connection(self._url) as connection:
            try:
                return int(connection.SimpleQueue(QUEUE).qsize())
            except connection.channel_errors:
                return 0  # Redis has no empty lists

    def settled(self) -> int:
        """How many messages ended so far, about."""
        (row,) = self._deployment.query(
            "SELECT (SELECT count(*) FROM payment_sessions)"
            " + (SELECT count(*) FROM refused_messages) AS settled"
        )
        return int(row["settled"])

    def _faults(self) -> list[tuple[str, list[str]]]:
        stored = {
            row["session_id"]: row["confirmed_order_id"]
            for row in self._deployment.query(
                "SELECT session_id, confirmed_order_id FROM payment_sessions"
            )
        }
        rows = self._deployment.query("SELECT task_id, resolution FROM refused_messages")
        kept = Counter(row["task_id"] for row in rows)
        waiting = {row["task_id"] for row in rows if row["resolution"] is None}
        return [
            ("not tracked", sorted(self.tracked.keys() - stored.keys())),
            ("tracked unasked", sorted(stored.keys() - self.tracked.keys())),
            ("not confirmed", [id_ for id_, order in stored.items() if order != self._order(id_)]),
            ("not kept", sorted(self.refused - kept.keys())),
            ("kept unasked", sorted(kept.keys() - self.refused - self._may_be_kept)),
            ("not resolved", sorted(waiting - self.refused)),
            ("kept twice", [task_id for task_id, count in kept.items() if count > 1]),
            ("unpickled", [self._trap.name] if self._trap.exists() else []),
        ]

    def _order(self, session_id: str) -> str | None:
        return self.tracked.get(session_id)

    # --- what is taken

    def _new_session(self, order: str | None = None) -> str:
        session_id = self._fresh.pop()
        self.tracked[session_id] = order
        return session_id

    def _task(self, *args: object, task: str = TRACK, **options: Any) -> str:  # noqa: ANN401 - Celery's
        sent = self._deployment.shop.send_task(task, args=args, queue=QUEUE, **options)
        return str(sent.id)

    def _track(self) -> None:
        self._task(self._new_session())

    def _track_in_new_account(self) -> None:
        task_id = self._task(self._new_session(), kwargs={"account": NEW_ACCOUNT})
        self._may_be_kept.add(task_id)

    def _track_with_wrong_options(self) -> None:
        self._task(self._new_session(), kwargs={"expires_at": 7, "reference": "x" * 300})

    def _track_uuid(self) -> None:
        self._task(uuid.UUID(self._new_session()), kwargs={"reference": uuid.uuid4()})

    def _track_expired(self) -> None:
        # RabbitMQ itself drops a message at its end.
        over = timedelta(hours=1) if self._url.startswith("amqp") else -timedelta(hours=1)
        now = datetime.now(UTC)  # noqa: TID251 - a shop's own clock
        self._task(self._new_session(), expires=now + over)

    def _track_later(self) -> None:
        session_id = self._new_session()
        self.delayed.append(session_id)
        self._task(session_id, countdown=7200)

    def _confirm_early(self) -> None:
        order = f"order-{uuid.uuid4()}"
        session_id = self._new_session(order)
        self._task(session_id, order, task="payment_sessions.confirm_order")
        self._task(session_id)

    # --- what is refused: each is sent twice, as by a broker that delivers again

    def _refused_task(self, *args: object, task: str = TRACK, **kwargs: object) -> None:
        task_id = str(uuid.uuid4())
        for _ in range(2):
            self._task(*args, task=task, kwargs=kwargs, task_id=task_id)
        self.refused.add(task_id)

    def _refused_message(self, body: object, *, task: str = TRACK, **options: Any) -> None:  # noqa: ANN401 - kombu's
        task_id = str(uuid.uuid4())
        headers = {"task": task, "id": task_id, "lang": "py"}
        with Connection(self._url) as connection:
            for _ in range(2):
                Producer(connection).publish(body, routing_key=QUEUE, headers=headers, **options)
        self.refused.add(task_id)

    def _bad_id(self) -> None:
        self._refused_task(f"a/{self._sent}")

    def _unknown_account(self) -> None:
        self._refused_task(str(uuid.uuid4()), account="nobodys")

    def _unknown_argument(self) -> None:
        self._refused_task(str(uuid.uuid4()), colour="red")

    def _pickled(self) -> None:
        self._refused_message(
            pickle.dumps([[str(uuid.uuid4())], {}, Trap(str(self._trap))]),
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )

    def _unknown_task(self) -> None:
        self._refused_task(self._sent, task="shop.send_mail")

    def _of_celery(self) -> None:
        names = ("celery.starmap", "celery.chunks", "celery.backend_cleanup")
        self._refused_task(TRACK, [[self._sent]], task=names[self._sent % len(names)])

    def _wrong_shape(self) -> None:
        shapes = ([["x"], [], {}], {"no": "arguments"}, [["x"], {}], self._sent)
        body = json.dumps(shapes[self._sent % len(shapes)])
        self._refused_message(body, content_type="application/json")

    def _too_large(self) -> None:
        self._refused_message([["x" * TOO_LARGE], {}, {}], serializer="json", compression="gzip")
