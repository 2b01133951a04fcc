"""What objects say of themselves: anything may end up in a traceback, a log line or a debugger."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from pydantic import BaseModel

from config.settings import InvalidSettingsError, Settings, parse
from tests.support.builders import NOW, SESSION_ID, a_session, an_observation, decided
from tests.support.canaries import Canaries
from tests.support.wired import OpenServices
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.adapters.klarna.wire_models import (
    KpSessionRead,
    SessionCreationResponseV1,
    SessionResponseV1,
    parse_session,
)
from worker.adapters.postgres.sessions.rows import recorded_row
from worker.domain.account import AccountState
from worker.domain.errors import ObservationError, ProtocolError
from worker.domain.session import Kind
from worker.services.errors import UnavailableError
from worker.services.outbox import Delivery
from worker.services.sessions import LeasedSession

OURS = ("worker.", "config.")


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def secret_settings(canaries: Canaries) -> dict[str, str]:
    keys = [canaries.add(f"key {number}", Fernet.generate_key().decode()) for number in range(2)]
    password = canaries.make
    return {
        "DATABASE_URL": f"postgresql://app:{password('database')}@127.0.0.1:1/none",
        "REDIS_URL": f"redis://:{password('redis')}@127.0.0.1:1/0",
        "BROKER_URL": f"redis://:{password('broker')}@127.0.0.1:1/0",
        "KLARNA_PASSWORD": password("klarna"),
        "KLARNA_ACCOUNTS__NORDIC__USERNAME": "nordic",
        "KLARNA_ACCOUNTS__NORDIC__PASSWORD": password("klarna nordic"),
        "KLARNA_ACCOUNTS__NORDIC__BASE_URL": "http://127.0.0.1:1",
        "KLARNA_BASE_URL": "http://127.0.0.1:1",
        "KLARNA_ALLOWED_ORIGINS": "http://127.0.0.1:1",
        "KLARNA_PROXY_URL": f"http://proxy:{password('proxy')}@127.0.0.1:1",
        "TOKEN_ENCRYPTION_KEYS": ",".join(keys),
        "EVENT_SINKS": "redis_stream,celery",
    }


@pytest.mark.anyio
async def test_nothing_that_runs_says_a_secret_of_the_settings(
    services: OpenServices, secret_settings: dict[str, str], canaries: Canaries
):
    """Everything that can be reached from the services, our own and what it is built on."""
    async with services(**secret_settings) as opened:
        shown = {
            f"{type(o).__module__}.{type(o).__name__}": _shown(o) for o in _reached(vars(opened))
        }
        settings = parse(Settings)
        shown |= {"settings": _shown(settings), "accounts": _shown(dict(settings.accounts))}
        shown["dumped"] = settings.model_dump_json()
        tasks = "\n".join(repr(task) for task in asyncio.all_tasks())

    assert {name for name, text in shown.items() if canaries.found_in(text)} == set()
    assert not canaries.found_in(tasks)
    expected = ("HttpxKlarna", "PostgresSessions", "RedisStreamSink", "CeleryTaskSink")
    assert all(any(name.endswith(one) for name in shown) for one in expected)
    assert any(name.startswith("httpx.") for name in shown)


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["poll", "relay", "purge", "streams"])
async def test_no_error_says_a_secret_of_the_settings(
    services: OpenServices, secret_settings: dict[str, str], canaries: Canaries, call: str
):
    """Nobody answers at any of the addresses; what is raised may be logged with its causes."""
    async with services(**secret_settings) as opened:
        calls = {
            "poll": lambda: opened.poll.poll(["s1"], uuid4()),
            "relay": lambda: opened.relay.relay(["s1"]),
            "purge": opened.housekeeping.purge,
            "streams": opened.streams.redeliver_lost,
        }
        with pytest.raises(UnavailableError) as caught:
            await calls[call]()

    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not canaries.found_in(said)


@pytest.mark.anyio
async def test_a_read_that_fails_says_neither_password_nor_proxy(canaries: Canaries):
    password, proxy = canaries.make("klarna"), canaries.make("proxy")
    credentials = Credentials("user", password)
    klarna = HttpxKlarna(
        {"default": credentials},
        allowed_origins={"default": ["http://127.0.0.1:1"]},
        timeout=timedelta(seconds=2),
        proxy_url=f"http://u:{proxy}@127.0.0.1:1",
    )
    session = a_session(session_url=f"http://127.0.0.1:1/hpp/v1/sessions/{SESSION_ID}")

    with pytest.raises(ObservationError) as caught:
        await klarna.read(session)
    await klarna.aclose()

    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "connection_failed" in str(caught.value)
    assert not canaries.found_in(said + repr(credentials) + repr(klarna))
    assert caught.value.__cause__ is None


def test_no_domain_object_says_a_token(canaries: Canaries):
    token = canaries.make("token")
    observation = an_observation("COMPLETED", authorization_token=token)
    decision = decided(a_session(), observation)
    leased = LeasedSession(
        session=replace(a_session(), authorization_token=token),
        account=AccountState(),
        lease_id=uuid4(),
        loaded_at=NOW,
    )
    delivery = Delivery(
        event_id=uuid4(),
        sink="redis_stream",
        session_id=SESSION_ID,
        attempts=1,
        age=timedelta(0),
        envelope=decision.events[0].envelope(),
        encrypted_token=token.encode(),
    )
    row = recorded_row(leased, decision.session, may_repeat=True, cipher=_Reversing())

    assert decision.session.authorization_token == token
    for each in (observation, decision, decision.events, leased, delivery, row):
        assert not canaries.found_in(_shown(each)), type(each)


@pytest.mark.parametrize("model", [SessionResponseV1, KpSessionRead, SessionCreationResponseV1])
def test_no_wire_model_says_a_token_or_a_person(model: type[BaseModel], canaries: Canaries):
    person = {"name": canaries.make("a name"), "email": canaries.make("an email")}
    fields = {
        "session_id": "s1",
        "status": "COMPLETED",
        "authorization_token": canaries.make("token"),
        "client_token": canaries.make("client token"),
        "customer": person,
        "manual_identification": person,
        "billing_address": person,
        "distribution_module": person,
    }
    answer = model.model_validate(fields)

    assert not canaries.found_in(_shown(answer) + answer.model_dump_json())


@pytest.mark.parametrize("field", ["status", "authorization_token", "session_id"])
def test_a_refused_answer_names_the_field_and_nothing_of_it(field: str, canaries: Canaries):
    wrong = {"status": "WAITING", field: [canaries.make("wrong")]}
    body = json.dumps(wrong | {"order_id": canaries.make("besides")}).encode()

    with pytest.raises(ProtocolError) as caught:
        parse_session(body, kind=Kind.HPP, session_id="s1")

    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert field in said
    assert not canaries.found_in(said)


def test_refused_settings_name_the_variable_and_nothing_of_it(
    secret_settings: dict[str, str], canaries: Canaries, monkeypatch: pytest.MonkeyPatch
):
    for name, value in secret_settings.items():
        monkeypatch.setenv(name, value.replace("redis://", "rodis://").replace("http:", "hxxp:"))
    monkeypatch.setenv("TOKEN_ENCRYPTION_KEYS", canaries.make("a bad key"))

    with pytest.raises(InvalidSettingsError) as caught:
        parse(Settings)

    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "REDIS_URL" in said
    assert "TOKEN_ENCRYPTION_KEYS" in said
    assert not canaries.found_in(said)


def _shown(value: object) -> str:
    return f"{value!r}\n{value}"


def _reached(root: object) -> Iterator[object]:
    """Every object that ours hold, and those that these are built on; each once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type(None), type)):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += value
        else:
            yield value
            if type(value).__module__.startswith(OURS):
                waiting += _held_by(value)


def _held_by(value: object) -> Iterator[Any]:
    yield from vars(value).values() if hasattr(value, "__dict__") else ()
    for kind in type(value).__mro__:
        for name in getattr(kind, "__slots__", ()):
            yield getattr(value, name, None)


class _Reversing:
    """A cipher that shows whether what is kept was encrypted."""

    def encrypt(self, token: str) -> bytes:
        return token[::-1].encode()

    def decrypt(self, encrypted: bytes) -> str:
        return encrypted.decode()[::-1]
