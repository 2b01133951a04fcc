"""Plays the scenarios as a shop and its consumers would, then checks what came of them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import httpx
import redis
from sqlalchemy import Connection, create_engine, text

from devkit.commands.processes import ProcessEndedError
from devkit.commands.up import interruptible, start_flower, watch
from devkit.demo.consumer import StreamConsumer
from devkit.demo.environment import STREAM, Stage
from devkit.demo.scenarios import SCENARIOS, Scenario
from devkit.demo.secret_scan import leaked_tokens
from devkit.demo.table import Line, Screen, print_summary
from devkit.embedded import EmbeddedServerError
from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME
from worker.adapters.clock import monotonic
from worker.adapters.postgres.reports.invariants import (
    broken_delivery_invariants,
    broken_state_invariants,
)
from worker.commands.output import FAILED, console

PLAY_SECONDS = 45.0
QUIET_SECONDS = 10.0
LOOK_SECONDS = 0.2
FLOWER_PORT = 5555
INTERRUPTED = 130

_SEEN = text("""
    SELECT s.session_id, s.status, s.outcome, s.poll_count, s.last_error, s.next_poll_at,
        array_remove(array_agg(t.to_status ORDER BY t.sequence), NULL) AS statuses,
        CASE WHEN s.kind = 'hpp' AND s.outcome NOT IN ('expired', 'not_found')
            AND max(t.occurred_at) > s.tracked_at THEN
            EXTRACT(epoch FROM max(t.observed_at) - max(t.occurred_at))::float
        END AS seen_after
    FROM payment_sessions AS s
    LEFT JOIN status_transitions AS t USING (session_id)
    GROUP BY s.session_id
""")


def play(*, keep: bool) -> int:
    """Run the demo; returns the exit code: 1 if a session ended wrong or a promise is broken."""
    started = monotonic()
    with interruptible():
        try:
            with Stage() as stage:
                console.print(
                    "A stand-in plays Klarna and its consumers; the worker reads it and tells a "
                    "stream and a webhook.\nEach session's name says what its consumer does, or "
                    "what goes wrong at Klarna; behind it are the statuses that the worker saw.\n"
                    f"Servers, stand-in, beat and worker: started in {monotonic() - started:.1f} s."
                )
                code = _Play(stage).run()
                if keep:
                    _keep(stage)
        except KeyboardInterrupt:
            console.print("Interrupted: everything is stopped and removed.")
            return INTERRUPTED
        except (EmbeddedServerError, ProcessEndedError) as error:
            console.print(f"[red]{error}[/red]")
            return FAILED
    return code


def _keep(stage: Stage) -> None:
    stage.processes.check()
    file = stage.write_environment()
    start_flower(stage.processes, FLOWER_PORT)
    console.print(
        f"Everything keeps running until Ctrl-C. Flower: http://127.0.0.1:{FLOWER_PORT} "
        f"(login: FLOWER_BASIC_AUTH in {file}). To look around in another shell:\n"
        f"  set -a; . {file}; set +a; .venv/bin/session-worker list",
        soft_wrap=True,
    )
    watch(stage.processes, stage.servers)


class _Play:
    """One performance."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._created: list[tuple[Scenario, CreatedSession]] = []
        self._lines: dict[str, Line] = {}
        self._pending: list[tuple[float, str, CreatedSession]] = []
        self._engine = create_engine(
            stage.servers.database_url.replace("postgresql://", "postgresql+psycopg://")
        )

    def run(self) -> int:
        """Enqueue, watch, summarize, check; returns the exit code."""
        with ExitStack() as stack:
            stack.callback(self._engine.dispose)
            consumer = StreamConsumer(self._stage.servers.redis_url, STREAM)
            consumer.start()
            stack.callback(consumer.stop)
            self._enqueue()
            with Screen() as screen:
                self._watch(screen, consumer)
            print_summary(list(self._lines.values()))
            hooks = self._stage.receiver
            console.print(
                f"The webhook receiver took {len(hooks.received)} events, each with a signature "
                f"that is right, and refused {hooks.refused}."
            )
            return self._verdict(consumer.received)

    def _enqueue(self) -> None:
        for scenario in SCENARIOS:
            created = self._stage.sandbox.create_session(**scenario.script)
            # Read after the creation: what happens at Klarna's by then has happened.
            created_at = monotonic()
            session_id = created["session_id"]
            for fault in scenario.faults:
                fields: dict[str, Any] = {**fault, "session_id": session_id}
                self._stage.sandbox.add_fault(fields.pop("kind"), **fields)
            self._created.append((scenario, created))
            self._lines[session_id] = Line(
                scenario.title,
                expected_outcome=scenario.outcome,
                expected_events=scenario.events,
            )
            self._track(scenario, created)
            for at, action in ((scenario.callback_at, "nudge"), (scenario.deleted_at, "delete")):
                if at is not None:
                    self._pending.append((created_at + at, action, created))
        console.print(f"{len(self._created)} payment sessions enqueued.")

    def _track(self, scenario: Scenario, created: CreatedSession) -> None:
        """As a shop: `send_task` by name, from an app that knows nothing of this project."""
        name = "payment_sessions.track"
        args: list[Any] = [created["session_id"]]
        kwargs: dict[str, Any] = {}
        if scenario.tracked == "create answer":
            name, args = "payment_sessions.track_created", [created["response"]]
        elif scenario.tracked == "arguments":
            kwargs = {
                "session_url": created["session_url"],
                "expires_at": created["expires_at"],
                "account": created["account"],
                "kind": created["kind"],
                "reference": "order-1",
            }
        elif created["kind"] == "kp" or created["account"] != "default":
            kwargs = {"kind": created["kind"], "account": created["account"]}
        self._stage.shop.send_task(name, args=args, kwargs=kwargs, queue="payment-sessions")

    def _watch(self, screen: Screen, consumer: StreamConsumer) -> None:
        started = monotonic()
        quiet_until = started + PLAY_SECONDS + QUIET_SECONDS
        while monotonic() < quiet_until:
            self._stage.check()
            self._act()
            self._look(consumer)
            screen.show(list(self._lines.values()), seconds=monotonic() - started)
            if all(line.is_right for line in self._lines.values()) and self._has_all(consumer):
                return
            finished = all(line.outcome for line in self._lines.values())
            if finished:
                quiet_until = min(quiet_until, monotonic() + QUIET_SECONDS)
            time.sleep(LOOK_SECONDS)

    def _has_all(self, consumer: StreamConsumer) -> bool:
        """Whether the webhook receiver has what the stream's consumer has."""
        ids = {event["id"] for event in self._stage.receiver.received}
        return ids >= {event["id"] for event in consumer.received}

    def _act(self) -> None:
        """Do what is due of the shop's own doing: a callback's nudge, a delete at Klarna."""
        now = monotonic()
        due = [action for action in self._pending if action[0] <= now]
        self._pending = [action for action in self._pending if action[0] > now]
        for _, action, created in due:
            if action == "nudge":
                self._stage.shop.send_task(
                    "payment_sessions.track",
                    args=[created["session_id"]],
                    queue="payment-sessions",
                )
            else:
                login = (DEFAULT_USERNAME, DEFAULT_PASSWORD)
                httpx.delete(created["session_url"], auth=login).raise_for_status()

    def _look(self, consumer: StreamConsumer) -> None:
        with self._engine.connect() as connection:
            for row in connection.execute(_SEEN):
                line = self._lines[row.session_id]
                line.statuses, line.outcome = row.statuses, row.outcome
                line.polls, line.last_error = row.poll_count, row.last_error
                line.seen_after, line.next_poll_at = row.seen_after, row.next_poll_at
        for line in self._lines.values():
            line.events = []
        for event in {event["id"]: event for event in consumer.received}.values():
            kind = event["type"].removeprefix("payment_session.")
            self._lines[event["subject"]].events.append(kind)

    def _verdict(self, received: list[dict[str, Any]]) -> int:
        with self._engine.connect() as connection:
            faults = [
                f"{line.title}: {line.outcome} with {', '.join(line.events) or 'no event'}, "
                f"not {line.expected_outcome} with {', '.join(line.expected_events)}"
                for line in self._lines.values()
                if not line.is_right
            ]
            faults += self._broken(connection, received)
        if faults:
            console.print("[red]Wrong:[/red]", "\n  ".join(["", *faults]))
            console.print(f"Logs were in {self._stage.logs}; --keep leaves them.")
            return FAILED
        console.print(
            "[green]All invariants hold[/green]: transitions are unbroken, each session has one "
            "outcome, every event was recorded with its transition and arrived in order, no lease "
            "is left, no open session lacks its next poll, no token leaked."
        )
        console.print(
            "`bin/demo --keep` leaves all of it running, to look around. docs/quickstart.md goes "
            "on with a payment session of your own."
        )
        return 0

    def _broken(self, connection: Connection, received: list[dict[str, Any]]) -> list[str]:
        # One of Klarna's documents shows one value as a token and another as an order id.
        order_ids = {created["order_id"] for _, created in self._created}
        tokens = {e["data"].get("authorization_token") for e in received} - order_ids - {None}
        with redis.Redis.from_url(self._stage.servers.redis_url) as client:
            return [
                *broken_state_invariants(connection),
                *broken_delivery_invariants(connection, received),
                *broken_delivery_invariants(
                    connection, self._stage.receiver.received, sink="webhook"
                ),
                *leaked_tokens(
                    tokens,
                    connection=connection,
                    client=client,
                    stream=STREAM,
                    logs=self._stage.logs,
                ),
            ]
