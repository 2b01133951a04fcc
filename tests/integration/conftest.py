"""The adapters over real servers, as the bootstrap builds them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import psycopg
import pytest
from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncEngine

from devkit.sandbox.server import SandboxServer
from tests.support.klarna_reads import CREDENTIALS
from tests.support.stored import Stored
from tests.support.wired import OpenServices, opened_services
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.klarna.client import HttpxKlarna
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.outbox.repository import PostgresOutbox
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.deliveries import Route

LONG = timedelta(seconds=10)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stored(database_url: str) -> Iterator[Stored]:
    connection = Stored(database_url)
    yield connection
    connection.close()


@pytest.fixture
def shop(database_url: str) -> Iterator[psycopg.Connection]:
    """A shop's own connection, in a transaction from its first statement on."""
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    yield made
    await made.dispose()


@pytest.fixture
def cipher() -> FernetTokenCipher:
    return FernetTokenCipher([Fernet.generate_key().decode()])


@pytest.fixture
def sessions(engine: AsyncEngine, cipher: FernetTokenCipher) -> PostgresSessions:
    return PostgresSessions(
        engine, cipher=cipher, routes=(Route(sink="redis_stream"), Route(sink="celery"))
    )


@pytest.fixture
def outbox(engine: AsyncEngine) -> PostgresOutbox:
    return PostgresOutbox(engine)


@pytest.fixture
def sandbox_url(sandbox_server: SandboxServer) -> str:
    return sandbox_server.url


@pytest.fixture
def services(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> OpenServices:
    """Opens the services in the environment, with these changes to it."""
    return lambda **changes: opened_services(environment | changes, monkeypatch)


@pytest.fixture
async def make_klarna(sandbox_server: SandboxServer) -> AsyncIterator[Callable[..., HttpxKlarna]]:
    made: list[HttpxKlarna] = []

    def make(
        *, timeout: timedelta = LONG, origins: tuple[str, ...] = (), **options: object
    ) -> HttpxKlarna:
        accounts = options.pop("accounts", {"default": CREDENTIALS})
        allowed = dict.fromkeys(accounts, (sandbox_server.url, *origins))
        klarna = HttpxKlarna(accounts, allowed_origins=allowed, timeout=timeout, **options)
        made.append(klarna)
        return klarna

    yield make
    for klarna in made:
        await klarna.aclose()


@pytest.fixture
def klarna(make_klarna: Callable[..., HttpxKlarna]) -> HttpxKlarna:
    return make_klarna()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
