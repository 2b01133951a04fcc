"""Runs the scenarios as a shop and its customers would, then checks the results."""

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
from devkit.demo.environment import STREAM, Environment
from devkit.demo.scenarios import SCENARIOS, Scenario
from devkit.demo.secret_scan import leaked_tokens
from devkit.demo.table import LiveTable, SessionRow, print_summary
from devkit.embedded import EmbeddedServerError
from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME
from worker.adapters.clock import monotonic
from worker.adapters.postgres.reports.invariants import (
    broken_delivery_invariants,
    broken_state_invariants,
)
from worker.commands.output import FAILED, console

RUN_SECONDS = 45.0
QUIET_SECONDS = 10.0
REFRESH_SECONDS = 0.2
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


def run(*, keep: bool) -> int:
    """Run the demo; return 1 if a session ended wrong or an invariant is broken, else 0."""
    started = monotonic()
    with interruptible():
        try:
            with Environment() as environment:
                console.print(
                    "A mock Klarna server has payment sessions; the worker polls them and sends "
                    "events to a stream and a webhook.\nEach line names one session: what its "
                    "customer does or what fails at Klarna, then the statuses the worker saw.\n"
                    "Servers, mock Klarna server, beat and worker: started in "
                    f"{monotonic() - started:.1f} s."
                )
                code = _DemoRun(environment).run()
                if keep:
                    _keep(environment)
        except KeyboardInterrupt:
            console.print("Interrupted. Everything is stopped and removed.")
            return INTERRUPTED
        except (EmbeddedServerError, ProcessEndedError) as error:
            console.print(f"[red]{error}[/red]")
            return FAILED
    return code


def _keep(environment: Environment) -> None:
    environment.processes.check()
    file = environment.write_environment()
    start_flower(environment.processes, FLOWER_PORT)
    console.print(
        f"Everything keeps running until Ctrl-C. Flower: http://127.0.0.1:{FLOWER_PORT} "
        f"(login: FLOWER_BASIC_AUTH in {file}). To look around in another shell:\n"
        f"  set -a; . {file}; set +a; .venv/bin/session-worker list",
        soft_wrap=True,
    )
    watch(environment.processes, environment.servers)


class _DemoRun:
    """One run of all scenarios."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._created: list[tuple[Scenario, CreatedSession]] = []
        self._rows: dict[str, SessionRow] = {}
        self._pending: list[tuple[float, str, CreatedSession]] = []
        self._engine = create_engine(
            environment.servers.database_url.replace("postgresql://", "postgresql+psycopg://")
        )

    def run(self) -> int:
        """Enqueue, watch, summarize and check; return the exit code."""
        with ExitStack() as stack:
            stack.callback(self._engine.dispose)
            consumer = StreamConsumer(self._environment.servers.redis_url, STREAM)
            consumer.start()
            stack.callback(consumer.stop)
            self._enqueue()
            with LiveTable() as table:
                self._watch(table, consumer)
            print_summary(list(self._rows.values()))
            hooks = self._environment.receiver
            console.print(
                f"The webhook received {len(hooks.received)} events with a valid signature "
                f"and refused {hooks.refused} requests."
            )
            return self._verdict(consumer.received)

    def _enqueue(self) -> None:
        for scenario in SCENARIOS:
            created = self._environment.sandbox.create_session(**scenario.script)
            # Read after the creation: no step is due earlier at Klarna.
            created_at = monotonic()
            session_id = created["session_id"]
            for fault in scenario.faults:
                fields: dict[str, Any] = {**fault, "session_id": session_id}
                self._environment.sandbox.add_fault(fields.pop("kind"), **fields)
            self._created.append((scenario, created))
            self._rows[session_id] = SessionRow(
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
        """As a shop: `send_task` by name, from an app that imports nothing of this project."""
        name = "payment_sessions.track"
        args: list[Any] = [created["session_id"]]
        kwargs: dict[str, Any] = {}
        if scenario.tracked == "create response":
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
        self._environment.shop.send_task(name, args=args, kwargs=kwargs, queue="payment-sessions")

    def _watch(self, table: LiveTable, consumer: StreamConsumer) -> None:
        started = monotonic()
        quiet_until = started + RUN_SECONDS + QUIET_SECONDS
        while monotonic() < quiet_until:
            self._environment.check()
            self._act()
            self._refresh(consumer)
            table.show(list(self._rows.values()), seconds=monotonic() - started)
            if all(row.is_right for row in self._rows.values()) and self._has_all(consumer):
                return
            finished = all(row.outcome for row in self._rows.values())
            if finished:
                quiet_until = min(quiet_until, monotonic() + QUIET_SECONDS)
            time.sleep(REFRESH_SECONDS)

    def _has_all(self, consumer: StreamConsumer) -> bool:
        """Return whether the webhook has received what the stream's consumer has."""
        ids = {event["id"] for event in self._environment.receiver.received}
        return ids >= {event["id"] for event in consumer.received}

    def _act(self) -> None:
        """Do what the shop does at this time: nudge after a callback, delete at Klarna."""
        now = monotonic()
        due = [action for action in self._pending if action[0] <= now]
        self._pending = [action for action in self._pending if action[0] > now]
        for _, action, created in due:
            if action == "nudge":
                self._environment.shop.send_task(
                    "payment_sessions.track",
                    args=[created["session_id"]],
                    queue="payment-sessions",
                )
            else:
                login = (DEFAULT_USERNAME, DEFAULT_PASSWORD)
                httpx.delete(created["session_url"], auth=login).raise_for_status()

    def _refresh(self, consumer: StreamConsumer) -> None:
        with self._engine.connect() as connection:
            for seen in connection.execute(_SEEN):
                row = self._rows[seen.session_id]
                row.statuses, row.outcome = seen.statuses, seen.outcome
                row.polls, row.last_error = seen.poll_count, seen.last_error
                row.seen_after, row.next_poll_at = seen.seen_after, seen.next_poll_at
        for row in self._rows.values():
            row.events = []
        for event in {event["id"]: event for event in consumer.received}.values():
            kind = event["type"].removeprefix("payment_session.")
            self._rows[event["subject"]].events.append(kind)

    def _verdict(self, received: list[dict[str, Any]]) -> int:
        with self._engine.connect() as connection:
            problems = [
                f"{row.title}: {row.outcome} with {', '.join(row.events) or 'no event'}, "
                f"not {row.expected_outcome} with {', '.join(row.expected_events)}"
                for row in self._rows.values()
                if not row.is_right
            ]
            problems += self._broken(connection, received)
        if problems:
            console.print("[red]Wrong:[/red]", "\n  ".join(["", *problems]))
            console.print(f"Logs were in {self._environment.logs}; --keep leaves them.")
            return FAILED
        console.print(
            "[green]All invariants hold[/green]: no transition is missing, each session has one "
            "outcome, every event was stored with its transition and arrived in order, no lease "
            "is left, every open session has a next poll, no token leaked."
        )
        console.print(
            "`bin/demo --keep` leaves everything running. Next: docs/quickstart.md, with a payment "
            "session of your own."
        )
        return 0

    def _broken(self, connection: Connection, received: list[dict[str, Any]]) -> list[str]:
        # Klarna's examples use one value both as a token and as an order id.
        order_ids = {created["order_id"] for _, created in self._created}
        tokens = {e["data"].get("authorization_token") for e in received} - order_ids - {None}
        with redis.Redis.from_url(self._environment.servers.redis_url) as client:
            return [
                *broken_state_invariants(connection),
                *broken_delivery_invariants(connection, received),
                *broken_delivery_invariants(
                    connection, self._environment.receiver.received, sink="webhook"
                ),
                *leaked_tokens(
                    tokens,
                    connection=connection,
                    client=client,
                    stream=STREAM,
                    logs=self._environment.logs,
                ),
            ]
