"""`session-worker check` of servers that say nothing, of sinks, and its rehearsal."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import self_signed
from tests.support.command import session_worker
from tests.support.processes import BIN
from tests.support.stored import Stored
from tests.support.webhook_receiver import a_secret
from worker.commands.checked_sinks import connection_fault
from worker.commands.findings import Finding
from worker.commands.probes import Probe, run_probes


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def checked(environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The findings by their subject."""
    found = session_worker(environment, "check", "--json").json()["findings"]
    return {each["subject"]: each for each in found}


# --- servers that say nothing


@pytest.mark.parametrize(
    ("variable", "url", "subject"),
    [
        ("DATABASE_URL", "postgresql://app:canary@127.0.0.1:{port}/app", "postgres"),
        ("REDIS_URL", "redis://:canary@127.0.0.1:{port}/0", "redis"),
        ("BROKER_URL", "redis://:canary@127.0.0.1:{port}/0", "broker"),
        ("BROKER_URL", "amqp://app:canary@127.0.0.1:{port}//", "broker"),
        ("KLARNA_BASE_URL", "http://127.0.0.1:{port}", "account default"),
        ("PAYWAY_BASE_URL", "http://127.0.0.1:{port}", "sink payway"),
    ],
)
def test_a_server_that_says_nothing_has_a_deadline(
    environment: dict[str, str], silent: int, variable: str, url: str, subject: str
):
    """All others are told; `session_worker` gives the command a minute."""
    payway = {"PAYWAY_CLIENT_ID": "id", "PAYWAY_CLIENT_SECRET": "canary"}
    changed = {variable: url.format(port=silent)}
    if subject == "sink payway":
        changed |= payway | {"EVENT_SINKS": "payway"}
    if subject == "account default":
        changed |= {"KLARNA_ALLOWED_ORIGINS": changed[variable]}

    found = checked(environment | changed)

    assert found[subject]["ok"] is False
    assert "canary" not in str(found)
    others = {"postgres", "redis", "account default"} - {subject}
    assert [name for name in others if not found[name]["ok"]] == []


def test_lines_are_printed_as_they_are_known(environment: dict[str, str], silent: int):
    """The first lines are there while Redis is still waited for."""
    wrong = {"REDIS_URL": f"redis://127.0.0.1:{silent}/0", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [BIN / "session-worker", "check"],
        env=environment | wrong,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ok    postgres: migrated"):
                break
        still_runs = process.poll() is None
        lines += list(process.stdout)

    assert still_runs
    assert lines[0] == "ok    settings: valid\n"
    assert [line for line in lines if line.startswith("fault redis: ")]


def test_a_probe_without_an_answer_ends_at_its_deadline_and_keeps_what_it_found():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def findings() -> Iterator[Finding]:
            yield Finding("first", detail="known")
            with socket.create_connection(server.getsockname()) as connection:
                connection.recv(1)

        known: list[Finding] = []
        hangs = Probe("a server", findings, seconds=0.2)
        other = Probe("another", lambda: [Finding("another", detail="right")])
        found = run_probes([hangs, other], on_found=known.append)

    assert [each.subject for each in found] == ["first", "a server", "another"]
    assert found[1].fault is not None
    assert "does not respond within 0.2 s" in found[1].fault
    assert sorted(each.subject for each in known) == sorted(each.subject for each in found)


def test_an_error_of_a_probe_is_the_commands():
    def findings() -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        run_probes([Probe("a server", findings)])


# --- sinks


def test_each_sink_has_a_line_with_its_target(environment: dict[str, str], silent: int):
    sinks = {
        "EVENT_SINKS": "redis_stream,celery,webhook",
        "CELERY_EVENT_QUEUE": "shop",
        "WEBHOOK_URL": f"http://127.0.0.1:{silent}/canary",
        "WEBHOOK_SECRETS": a_secret(),
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }

    found = checked(environment | sinks)

    assert found["sink redis_stream"]["text"].startswith("stream payment-session-events, entries")
    assert found["sink celery"]["text"] == "task payment_session.event on queue shop"
    assert found["webhook"]["text"].startswith("accepts connections; all event types, signed with")
    assert "canary" not in str(found)


def test_a_webhook_endpoint_that_is_not_there(environment: dict[str, str]):
    sinks = {
        "EVENT_SINKS": "redis_stream,webhook",
        "WEBHOOK_URL": "https://127.0.0.1:9/canary",
        "WEBHOOK_SECRETS": a_secret(),
    }

    private = checked(environment | sinks)["webhook"]
    away = checked(environment | sinks | {"WEBHOOK_ALLOW_PRIVATE": "true"})["webhook"]

    assert private["text"] == "its address is not a public one: WEBHOOK_ALLOW_PRIVATE"
    assert away["text"].startswith("does not accept connections (ConnectionRefusedError): is it")


def test_the_name_of_an_endpoint_is_looked_up():
    found = connection_fault("https://no-such-host.invalid/", allow_private=True)

    assert found == "the name of its host cannot be resolved: is its URL correct?"


def test_the_certificate_of_an_endpoint_is_verified(tmp_path: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path, "shop.example"))

    def answer(server: socket.socket) -> None:
        with server.accept()[0] as accepted, suppress(OSError):
            context.wrap_socket(accepted, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer, args=[server])
        answering.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        found = connection_fault(url, allow_private=True)
        answering.join()

    assert found == "its TLS certificate or version is not accepted (CERTIFICATE_VERIFY_FAILED)"


# --- the rehearsal


def test_the_rehearsal_leaves_nothing_and_locks_no_real_row(
    environment: dict[str, str], database_url: str
):
    """It passes beside a transaction that holds every row."""
    stored = Stored(database_url)
    stored.add_session("real")
    stored.add_account()
    stored.rows("BEGIN")
    stored.rows("SELECT 1 FROM payment_sessions, accounts FOR UPDATE")
    found = checked(environment)["rehearsal"]
    stored.rows("COMMIT")
    left = stored.rows("SELECT session_id FROM payment_sessions")
    accounts = stored.rows("SELECT account FROM accounts")
    stored.close()

    assert found["text"].startswith("a made-up session was claimed and recorded with 1 of its")
    assert [row["session_id"] for row in left] == ["real"]
    assert [row["account"] for row in accounts] == ["default"]


def test_a_table_that_takes_no_row_is_found(environment: dict[str, str], database_url: str):
    """A constraint that a migration of somebody else's added."""
    stored = Stored(database_url)
    stored.rows("ALTER TABLE outbox_deliveries ADD CHECK (attempts > 0) NOT VALID")
    stored.close()

    found = checked(environment)["rehearsal"]

    assert found["text"].startswith("a made-up session could not be claimed and recorded (SQLSTATE")
