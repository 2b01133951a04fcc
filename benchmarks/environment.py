"""The servers and processes of a benchmark, all of them real and on this machine.

Postgres is durable (fsync), as in production; each deployment has an empty, migrated database.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import psycopg
import redis
from cryptography.fernet import Fernet

from benchmarks.mock_klarna import ARRIVALS, HOOK
from benchmarks.usage import Usage
from devkit.embedded import EmbeddedServers
from devkit.processes import BIN, READY, ChildProcess, celery_command, pipe_of
from worker.adapters import clock

READY_SECONDS = 90.0
END_SECONDS = 40.0
# A role beside those of a deployment.
MOCK = "mock Klarna server"
# A WAITING session of that age is read every 40 minutes: in a benchmark, once.
UPDATED_AT = (clock.now() - timedelta(hours=30)).isoformat()
EXPIRES_AT = (clock.now() + timedelta(hours=18)).isoformat()


def report(what: str) -> None:
    """Write a line of progress to standard error."""
    sys.stderr.write(f"{clock.now():%H:%M:%S} {what}\n")


class Servers:
    """Postgres and Valkey of a whole benchmark; a context manager.

    `settings` are environment variables of workers and beats; they override a deployment's own.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Postgres does not run as root; its account must reach this folder.
        folder.chmod(0o755)
        self._folder = folder
        self._servers = self._stack.enter_context(EmbeddedServers(folder / "servers"))
        self._create("bench_template", template="template1")
        migration = [str(BIN / "alembic"), "upgrade", "head"]
        environment = {
            **os.environ,
            "PYTHON_DOTENV_DISABLED": "1",
            "DATABASE_URL": self._url("bench_template"),
        }
        subprocess.run(  # noqa: S603 - the project's own
            migration, env=environment, check=True, capture_output=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def database_url(self) -> str:
        """The server's own database."""
        return self._servers.database_url

    @contextmanager
    def deployment(self, title: str, *, delay: float = 0.1) -> Iterator[Deployment]:
        """Yield a deployment with an empty database, an empty Redis and its own mock Klarna server.

        The server responds after `delay` seconds. `title` is written as progress.
        """
        report(title)
        name = f"bench_{uuid4().hex}"
        self._create(name, template="bench_template")
        with redis.Redis.from_url(self._servers.redis_url) as client:
            client.flushdb()
        pids = {"redis": self._servers.pids["valkey"], "postgres": self._servers.pids["postgres"]}
        deployment = Deployment(
            database_url=self._url(name),
            redis_url=self._servers.redis_url,
            folder=self._folder,
            pids=pids,
            settings=self._settings,
        )
        deployment.start_mock_klarna(delay)
        try:
            yield deployment
        finally:
            deployment.close()
            with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, name: str, *, template: str) -> None:
        with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def _url(self, name: str) -> str:
        return f"{self._servers.database_url.rpartition('/')[0]}/{name}"


class Deployment:
    """A database, a mock Klarna server, and the processes that are started for them."""

    klarna_url: str

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str,
        folder: Path,
        pids: Mapping[str, int],
        settings: Mapping[str, str],
    ) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self._settings = settings
        self._folder = folder
        self._pids = {role: [pid] for role, pid in pids.items()}
        self._running: list[ChildProcess] = []
        self.connection = psycopg.connect(database_url, autocommit=True)

    def start_mock_klarna(self, delay: float) -> None:
        """Start the mock Klarna server; every response takes `delay` seconds."""
        times = ["--delay", str(delay), "--updated-at", UPDATED_AT, "--expires-at", EXPIRES_AT]
        command = [sys.executable, "-m", "benchmarks.mock_klarna", *times]
        mock = ChildProcess(command, stdout=subprocess.PIPE, text=True)
        self._add(MOCK, mock)
        self.klarna_url = pipe_of(mock.process.stdout).readline().strip()

    def environment(self) -> dict[str, str]:
        """Return a deployment's environment: the defaults, but no limit for the account."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            # A deployment's .env in the working directory is not read.
            "PYTHON_DOTENV_DISABLED": "1",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "KLARNA_USERNAME": "benchmark",
            "KLARNA_PASSWORD": "made-up",
            "KLARNA_BASE_URL": self.klarna_url,
            "KLARNA_ALLOWED_ORIGINS": self.klarna_url,
            "KLARNA_READ_LIMIT": "100000",
            "POLL_IN_FLIGHT_PER_ACCOUNT": "1000",
            "TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "WEBHOOK_URL": f"{self.klarna_url}{HOOK}",
            "WEBHOOK_SECRETS": "whsec_bWFkZS11cC1mb3ItdGhlLWJlbmNobWFyay1vbmx5",
            "WEBHOOK_ALLOW_PRIVATE": "true",
            **self._settings,
        }

    def start(self, *, workers: int, **overrides: str) -> None:
        """Start so many workers and a beat, and wait until they are ready."""
        environment = self.environment() | overrides
        started = [self.celery("worker", "worker", environment) for _ in range(workers)]
        started.append(self.celery("worker", "beat", environment))
        for process in started:
            process.wait_until_ready(within=READY_SECONDS)

    def celery(
        self, app: str, role: str, environment: Mapping[str, str], arguments: Sequence[str] = ()
    ) -> ChildProcess:
        """Start `celery -A app role`."""
        name = uuid4().hex
        command = celery_command(app, role, "--loglevel", "INFO")
        if role == "beat":
            command += ["--schedule", str(self._folder / f"{name}.schedule")]
        else:
            command += ["--hostname", f"{name}@bench"]
        return self.run(role, [*command, *arguments], environment, ready=READY[role])

    def run(
        self,
        role: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        ready: str,
    ) -> ChildProcess:
        """Start a program in the role of a deployment's; `ready` is what it then logs."""
        log_file = self._folder / f"{role}-{uuid4().hex}.log"
        process = ChildProcess(command, log_file=log_file, ready=ready, env=dict(environment))
        return self._add(role, process)

    def usage(self) -> Usage:
        """Return the usage of all processes, by role."""
        return Usage(self._pids)

    def arrivals(self) -> list[tuple[str, float]]:
        """Return and forget the requests: payment session id or event id, and when each came."""
        with urllib.request.urlopen(f"{self.klarna_url}{ARRIVALS}") as response:  # noqa: S310 - ours
            return [(name, at) for name, at in json.load(response)]

    def check(self) -> None:
        """Check that every process runs.

        Raises:
            RuntimeError: One has ended.
        """
        if not all(process.is_running for process in self._running):
            raise RuntimeError("a process ended during the benchmark")

    def close(self) -> None:
        """End every process."""
        self.connection.close()
        for process in reversed(self._running):
            process.ask_to_end()
        for process in self._running:
            process.wait_for_end(within=END_SECONDS)
            if process.process.stdout is not None:
                process.process.stdout.close()

    def _add(self, role: str, process: ChildProcess) -> ChildProcess:
        self._running.append(process.start())
        self._pids.setdefault(role, []).append(process.pid)
        return process
