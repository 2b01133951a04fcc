"""Secrets and personal data through whole lives and every error, then looked for everywhere.

One run for all of it: a worker and a beat with the least database role, at DEBUG, and Flower.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from devkit.sandbox.server import SandboxServer
from tests.support.canaries import Canaries
from tests.support.canary_deployment import (
    SHOP_QUEUE,
    STREAM,
    UNDECRYPTABLE,
    CanaryDeployment,
    secret_environment,
)
from tests.support.canary_run import CanaryRun
from tests.support.commands import run_commands
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.flower import flower
from tests.support.processes import CeleryProcess
from tests.support.roles import Roles
from tests.support.stored import Stored
from tests.support.text_locations import (
    Location,
    command_lines,
    database_locations,
    log_locations,
    redis_locations,
)
from tests.support.tokens import decrypted
from worker.adapters.crypto import FernetTokenCipher

# What a sink was given holds tokens: that is what it is for.
GIVEN = (f"Redis key {STREAM}", f"Redis key {SHOP_QUEUE}")


@pytest.fixture
def klarna_server() -> Iterator[SandboxServer]:
    """A mock Klarna server of the test's own: its accounts get other passwords."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def run(klarna_server: SandboxServer, canaries: Canaries) -> CanaryRun:
    return CanaryRun(klarna_server.client, canaries)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.fixture
def secret(
    environment: dict[str, str],
    klarna_server: SandboxServer,
    canaries: Canaries,
    roles: Roles,
    run: CanaryRun,
) -> dict[str, str]:
    """The environment of a worker, every secret in it a canary."""
    url = klarna_server.url
    own = environment | {"KLARNA_BASE_URL": url, "KLARNA_ALLOWED_ORIGINS": url}
    return secret_environment(own, canaries, roles, run)


@pytest.fixture
def canary(
    secret: dict[str, str],
    run: CanaryRun,
    stored: Stored,
    database_url: str,
    client: redis.Redis,
    tmp_path: Path,
) -> Iterator[CanaryDeployment]:
    watched = flower(secret, tmp_path / "flower.log")
    with watched as watching, deploy(secret, tmp_path) as deployed:
        yield CanaryDeployment(
            deployed=deployed,
            run=run,
            canaries=run.canaries,
            stored=stored,
            owner_url=database_url,
            watching=watching,
            client=client,
        )


def test_no_secret_and_nobodys_data_stand_where_they_do_not_belong(
    canary: CanaryDeployment, roles: Roles, tmp_path: Path
):
    """Tokens stand in what the sinks were given and, encrypted, in their column; nothing else."""
    locations = canary.exercise()
    locations += command_lines()
    locations += _commands(canary, roles)
    canary.deployed.close()
    locations += _be_refused(canary, roles, tmp_path)
    locations += log_locations(tmp_path)
    locations += redis_locations(canary.client)
    locations += database_locations(canary.owner_url)

    found = {name: canary.canaries.found_in(text) for name, text in locations}

    assert {name: leaked for name, leaked in found.items() if leaked and name not in GIVEN} == {}
    _assert_the_run_is_in(canary, locations)
    _assert_sinks_were_given_the_tokens(canary, found)
    _assert_columns_decrypt_to_the_tokens(canary)
    _assert_refused_arguments_decrypt_to_the_canaries(canary)


def _commands(canary: CanaryDeployment, roles: Roles) -> Iterator[Location]:
    """What an operator reads, with the role that may only read."""
    environment = canary.deployed.environment | {"DATABASE_URL": roles.url("reader")}
    session_id = next(iter(canary.run.tokens))
    reading = (
        *(["show", session_id], ["list"], ["stats"], ["check"], ["health"]),
        ["refused", "list", "--limit", "1000"],
    )
    for name, said in run_commands(environment, *([*words, "--json"] for words in reading)).items():
        assert name == "besides" or json.loads(said.text)
        yield f"session-worker {name}", said.text


def _be_refused(canary: CanaryDeployment, roles: Roles, folder: Path) -> Iterator[Location]:
    """Start with passwords that Postgres and Redis refuse; returns what the commands say to it."""
    wrong = canary.canaries.make("password: refused")
    environment = canary.deployed.environment
    host = environment["REDIS_URL"].rpartition("@")[2]
    no_database = environment | {"DATABASE_URL": roles.url("worker", password=wrong)}
    no_broker = environment | {"REDIS_URL": f"redis://:{wrong}@{host}"}
    refused = {
        "track_retrying": CeleryProcess("worker", no_database, folder / "no-database.log"),
        "Cannot connect": CeleryProcess("worker", no_broker, folder / "no-broker.log"),
    }
    canary.deployed.track("waits-for-ever")
    for process in refused.values():
        process.start(wait=False)
    said = run_commands(no_database, ["check"], ["stats"], ["rotate-keys"])
    yield "commands without a database", "\n".join(each.text for each in said.values())
    said = run_commands(no_broker, ["check"], ["nudge", next(iter(canary.run.tokens))])
    yield "commands without a broker", "\n".join(each.text for each in said.values())
    for words, process in refused.items():
        eventually(lambda words=words, p=process: words in p.log(), because=f"{words} is logged")
        process.stop()


def _assert_the_run_is_in(canary: CanaryDeployment, locations: list[Location]) -> None:
    """Each place was read as it is: it names what was run. An empty one would prove nothing."""
    session_id = next(iter(canary.run.tokens))
    expected_words = {
        "worker-0.log": session_id,
        "beat-1.log": "polls_sent",
        "flower.log": "payment_sessions.track",
        "no-database.log": "waits-for-ever",
        "no-broker.log": "redis://:**@",
        "commands without a database": "DATABASE_URL",
        "commands without a broker": "REDIS_URL",
        "table payment_sessions": session_id,
        "table outbox_deliveries": UNDECRYPTABLE,
        "pg_stat_activity": "SELECT",
        "task events": session_id,
        "Flower's tasks, rows": session_id,
        "Flower's API: tasks": session_id,
        "Flower's worker page": "broker_url",
        "Flower's metrics": "payment_sessions.poll",
        "session-worker show": session_id,
        "session-worker list": session_id,
        "session-worker stats": "redis_stream",
        "session-worker refused": "is not an argument of this task",
        "table refused_messages": "is not an argument of this task",
        GIVEN[0]: session_id,
        GIVEN[1]: session_id,
    }
    texts = dict(locations)
    assert {
        name for name, words in expected_words.items() if words not in texts.get(name, "")
    } == set()
    assert any(session_id in text for name, text in locations if "task page" in name)
    assert any("celery" in text for name, text in locations if name.startswith("process"))


def _assert_sinks_were_given_the_tokens(
    canary: CanaryDeployment, found: dict[str, set[str]]
) -> None:
    expected = canary.canaries.found_in(" ".join(canary.run.tokens.values()))
    assert len(expected) == len(canary.run.tokens) > 25
    assert [found[name] for name in GIVEN] == [expected, expected]
    received = {
        event["subject"]: event["data"]["authorization_token"]
        for event in canary.deployed.received()
    }
    assert received == canary.run.tokens


def _assert_columns_decrypt_to_the_tokens(canary: CanaryDeployment) -> None:
    canary.stored.rows(
        "UPDATE payment_sessions SET authorization_token = NULL WHERE session_id = %s",
        UNDECRYPTABLE,
    )
    keys = canary.deployed.environment["TOKEN_ENCRYPTION_KEYS"].split(",")
    assert decrypted(canary.stored, keys=keys) == canary.run.tokens


def _assert_refused_arguments_decrypt_to_the_canaries(canary: CanaryDeployment) -> None:
    """What was refused is kept, whatever was wrong with it: a person may look at it."""
    keys = canary.deployed.environment["TOKEN_ENCRYPTION_KEYS"].split(",")
    rows = canary.stored.rows("SELECT * FROM refused_messages WHERE arguments IS NOT NULL")
    kept = " ".join(FernetTokenCipher(keys).decrypt(row["arguments"]) for row in rows)
    expected = {
        f"argument: {where}" for where in ("an id", "a query", "an account", "an unknown argument")
    }
    assert canary.canaries.found_in(kept) >= expected | {"message: a pickle"}
