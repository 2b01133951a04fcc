"""Encryption keys change while everything runs, and a wrong one loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cryptography.fernet import Fernet

from devkit.sandbox.server import SandboxClient
from tests.support.commands import run_commands
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.refused import add_refused
from tests.support.stored import Stored
from tests.support.tokens import add_authorized, add_many_authorized, decrypted
from tests.support.wired import OpenServices
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.tokens import BATCH

OLD, NEW, WRONG = (Fernet.generate_key().decode() for _ in range(3))
BOTH = {"TOKEN_ENCRYPTION_KEYS": f"{NEW},{OLD}"}
MANY = [f"many-{number:04}" for number in range(2 * BATCH + 1)]


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: Path) -> Iterator[Deployment]:
    with deploy(environment | BOTH, tmp_path) as deployed:
        yield deployed


def test_rotate_keys_encrypts_every_token_anew_in_batches_beside_a_running_worker(
    deployment: Deployment, sandbox: SandboxClient, stored: Stored
):
    add_many_authorized(stored, MANY, key=OLD)
    add_authorized(stored, "undelivered", "the-token", key=OLD, delivered=False)
    paid = {}
    for number in range(4):
        token = f"token-{number}"
        created = sandbox.create_session(steps=[[0, "COMPLETED"]], authorization_token=token)
        paid[created["session_id"]] = token
    deployment.start("worker")
    before, after = list(paid)[:2], list(paid)[2:]

    for session_id in before:
        deployment.track(session_id)
    said = run_commands(deployment.environment, ["rotate-keys", "--json"])["rotate-keys"]
    for session_id in after:
        deployment.track(session_id)
    deployment.wait_for_outcomes(*paid)
    deployment.send("payment_sessions.relay", ["undelivered"])

    assert said.code == 0
    assert json.loads(said.text)["unreadable"] == []
    assert json.loads(said.text)["encrypted"] > len(MANY)
    stays = dict(zip(MANY, MANY, strict=True))
    tokens = stays | paid | {"undelivered": "the-token"}
    assert decrypted(stored, keys=[NEW]) == tokens
    for session_id, token in {**paid, "undelivered": "the-token"}.items():
        (event,) = deployment.received_of(session_id)
        assert event["data"]["authorization_token"] == token


def test_a_token_that_no_key_decrypts_is_named_and_left_as_it_is(
    environment: dict[str, str], stored: Stored
):
    add_many_authorized(stored, ["lost-1", "lost-2"], key=WRONG)
    add_many_authorized(stored, ["sound"], key=OLD)
    left = stored.session("lost-1")["authorization_token"]

    said = run_commands(environment | BOTH, ["rotate-keys"])["rotate-keys"]

    assert said.code == 1
    assert said.text.splitlines()[-1] == (
        "TOKEN_ENCRYPTION_KEYS: no key decrypts 2 of 3 tokens (sessions lost-1, lost-2);"
        " they are unchanged: add the key they were encrypted with."
    )
    assert stored.session("lost-1")["authorization_token"] == left
    stored.rows("DELETE FROM payment_sessions WHERE session_id LIKE %s", "lost-%")
    assert decrypted(stored, keys=[NEW]) == {"sound": "sound"}


def test_rotate_keys_encrypts_and_hashes_refused_arguments_anew(
    environment: dict[str, str], stored: Stored
):
    """By the first key alone: the old one may be removed, and `erase` still finds the id."""
    for number in range(BATCH + 1):
        add_refused(stored, f"session-{number}", keys=[OLD])
    add_refused(stored, keys=[OLD], arguments=None, argument_hashes=[])

    said = run_commands(environment | BOTH, ["rotate-keys", "--json"])["rotate-keys"]

    assert said.code == 0
    assert json.loads(said.text)["refused_encrypted"] == BATCH + 1
    cipher = FernetTokenCipher([NEW])
    rows = stored.rows("SELECT * FROM refused_messages WHERE arguments IS NOT NULL")
    kept = {json.loads(cipher.decrypt(row["arguments"]))["args"][0]: row for row in rows}
    assert len(kept) == BATCH + 1
    assert all(row["argument_hashes"] == cipher.hashes(each) for each, row in kept.items())


def test_arguments_that_no_key_decrypts_are_named_and_left_as_they_are(
    environment: dict[str, str], stored: Stored
):
    lost = add_refused(stored, "session-1", keys=[WRONG])
    add_refused(stored, "session-2", keys=[OLD])
    left = stored.value("SELECT arguments FROM refused_messages WHERE refused_id = %s", lost)

    said = run_commands(environment | BOTH, ["rotate-keys"])["rotate-keys"]

    assert said.code == 1
    assert said.text.splitlines()[-1] == (
        f"TOKEN_ENCRYPTION_KEYS: no key decrypts 1 of 2 refused messages (ids {lost});"
        " they are unchanged: add the key they were encrypted with."
    )
    assert left == stored.value(
        "SELECT arguments FROM refused_messages WHERE refused_id = %s", lost
    )


@pytest.mark.anyio
async def test_what_a_wrong_key_held_back_comes_when_the_right_one_is_added(
    services: OpenServices, stored: Stored, redis_url: str
):
    add_authorized(stored, "s1", "the-token", key=OLD, delivered=False)

    async with services(TOKEN_ENCRYPTION_KEYS=WRONG) as opened:
        await opened.relay.relay(["s1"])
    (held,) = stored.rows("SELECT * FROM outbox_deliveries")
    stored.make_deliveries_due()
    async with services(TOKEN_ENCRYPTION_KEYS=f"{WRONG},{OLD}") as opened:
        await opened.relay.relay(["s1"])

    assert "TOKEN_ENCRYPTION_KEYS" in held["last_error"]
    with redis.Redis.from_url(redis_url) as client:
        ((_, entry),) = client.xrange("payment-session-events")
    assert json.loads(entry[b"event"])["data"]["authorization_token"] == "the-token"
