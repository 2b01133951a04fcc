"""The search of test_canaries.py finds a secret wherever it is put, and however it is written."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from celery import Celery
from psycopg.types.json import Jsonb

from tests.support.canaries import Canaries
from tests.support.eventually import eventually
from tests.support.stored import Stored
from tests.support.text_locations import (
    command_lines,
    database_locations,
    log_locations,
    redis_locations,
)


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.mark.parametrize("before", ["", "u", "u:", "user:"])
@pytest.mark.parametrize("after", ["", "!", "}}"])
def test_a_secret_is_found_in_every_spelling(canaries: Canaries, before: str, after: str):
    """In base64, what stands beside a secret changes how it is written."""
    secret = canaries.make_no_id("a secret")
    canaries.make("another")
    text = f"{before}{secret}{after}"
    spellings = [
        text,
        quote(text, safe=""),
        text.encode().hex(),
        base64.b64encode(text.encode()).decode(),
        base64.urlsafe_b64encode(text.encode()).decode(),
        json.dumps({"body": json.dumps({"held": text})}),
        repr(text.encode()),
    ]

    assert [canaries.found_in(spelling) for spelling in spellings] == [{"a secret"}] * 7


def test_secrets_are_found_in_every_kind_of_redis_key(canaries: Canaries, redis_url: str):
    secret = canaries.make
    with redis.Redis.from_url(redis_url) as client:
        client.set("text", secret("text"))
        client.set(secret("key"), "")
        client.lpush("list", secret("list"))
        client.hset("hash", secret("hash field"), secret("hash value"))
        client.sadd("set", secret("set"))
        client.zadd("sorted", {secret("sorted set"): 1})
        client.xadd("stream", {"event": json.dumps({"token": secret("stream")})})
        with Celery("shop", broker=redis_url, set_as_current=False) as shop:
            shop.send_task("t", args=[secret("message")], argsrepr="", queue="waiting")
            message = json.loads(client.lindex("waiting", 0))
            client.hset("unacked", "tag", json.dumps([message, "exchange", "queue"]))
        found = {name: canaries.found_in(text) for name, text in redis_locations(client)}
        decoded = dict(redis_locations(client))

    assert found["Redis key text"] == {"text"}
    assert found["Redis key list"] == {"list"}
    assert found["Redis key hash"] == {"hash field", "hash value"}
    assert found["Redis key set"] == {"set"}
    assert found["Redis key sorted"] == {"sorted set"}
    assert found["Redis key stream"] == {"stream"}
    assert found["Redis key waiting"] == found["Redis key unacked"] == {"message"}
    assert {"key"} in found.values()
    assert '[["canary-' in decoded["Redis key waiting"]
    assert '[["canary-' in decoded["Redis key unacked"]


def test_secrets_are_found_in_every_table(canaries: Canaries, stored: Stored, database_url: str):
    stored.add_session(
        "s1",
        last_error=f"because of {canaries.make('text')}",
        authorization_token=f"not encrypted: {canaries.make('bytes')}".encode(),
    )
    stored.add_message("s1", 1)
    token = canaries.make("document")
    stored.rows("UPDATE outbox_messages SET payload = %s", Jsonb({"data": {"token": token}}))
    stored.rows(f"SELECT '{canaries.make('statement')}'")

    found = {name: canaries.found_in(text) for name, text in database_locations(database_url)}

    assert found["table payment_sessions"] == {"text", "bytes"}
    assert found["table outbox_messages"] == {"document"}
    assert found["pg_stat_activity"] >= {"statement"}
    assert set(found) > {"table accounts", "table status_transitions", "table outbox_deliveries"}


def test_secrets_are_found_in_logs_and_in_the_process_list(canaries: Canaries, tmp_path: Path):
    login = base64.b64encode(f"user:{canaries.make('header')}".encode()).decode()
    (tmp_path / "worker.log").write_text(f"Authorization: Basic {login}\n")
    command = [sys.executable, "-c", "input()", canaries.make("argument")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        # The kernel shows a command line a moment after the program began.
        eventually(
            lambda: {"argument"} in [canaries.found_in(text) for _, text in command_lines()],
            because="the argument is listed",
        )
        assert process.stdin
        process.stdin.write(b"\n")
    logged = [canaries.found_in(text) for _, text in log_locations(tmp_path)]

    assert logged == [{"header"}]
