"""The servers and processes that a benchmark plays on, all of them real and on this machine.

Postgres is durable (fsync), as in production; each `scene` has an empty, migrated database.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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
from worker.adapters import clock

BIN = Path(sys.executable).parent
READY = {"worker": " ready.", "beat": "beat: Starting..."}
READY_SECONDS = 90.0
END_SECONDS = 40.0
# Unread for so long, a WAITING session is read every 40 minutes: in a benchmark, once.
UPDATED_AT = (clock.now() - timedelta(hours=30)).isoformat()
EXPIRES_AT = (clock.now() + timedelta(hours=18)).isoformat()


def tell(what: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{clock.now():%H:%M:%S} {what}\n")


class Stage:
    """Postgres and Valkey for a whole benchmark; a context manager.

    `settings` are environment variables that workers and beats get beside, or instead of, ours.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Postgres does not run as root; whoever it runs as must get here.
        folder.chmod(0o755)
        self._folder = folder
        self._servers = self._stack.enter_context(EmbeddedServers(folder / "servers"))
        self._create("bench_template", template="template1")
        migration = [BIN / "alembic", "upgrade", "head"]
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
    def scene(self, title: str, *, delay: float = 0.1) -> Iterator[Scene]:
        """Return an empty database, an empty Redis and a Klarna that takes `delay` seconds.

        `title` tells whoever waits what is being measured.
        """
        tell(title)
        name = f"bench_{uuid4().hex}"
        self._create(name, template="bench_template")
        with redis.Redis.from_url(self._servers.redis_url) as client:
            client.flushdb()
        pids = {"redis": self._servers.pids["valkey"], "postgres": self._servers.pids["postgres"]}
        scene = Scene(self._url(name), self._servers.redis_url, self._folder, pids, delay)
        scene.settings = self._settings
        try:
            yield scene
        finally:
            scene.close()
            with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, name: str, *, template: str) -> None:
        with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def _url(self, name: str) -> str:
        return f"{self._servers.database_url.rpartition('/')[0]}/{name}"


class Scene:
    """One database, one mock Klarna server, and the processes that use them."""

    def __init__(
        self, database_url: str, redis_url: str, folder: Path, pids: dict[str, int], delay: float
    ) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.settings: dict[str, str] = {}
        self._folder = folder
        self._pids = {role: [pid] for role, pid in pids.items()}
        self._running: list[subprocess.Popen[str]] = []
        times = ["--delay", str(delay), "--updated-at", UPDATED_AT, "--expires-at", EXPIRES_AT]
        command = [sys.executable, "-m", "benchmarks.mock_klarna", *times]
        mock = self._spawn("mock Klarna server", command, stdout=subprocess.PIPE)
        assert mock.stdout is not None  # noqa: S101 - told to the type checker
        self.klarna_url = mock.stdout.readline().strip()
        self.connection = psycopg.connect(database_url, autocommit=True)

    def environment(self) -> dict[str, str]:
        """Return a deployment's environment: as shipped but for what one account is held to."""
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
            **self.settings,
        }

    def start(self, *, workers: int, **overrides: str) -> None:
        """Start so many workers and a beat, and wait until they are ready."""
        environment = self.environment() | overrides
        logs = [self.celery("worker", "worker", environment) for _ in range(workers)]
        logs.append(self.celery("worker", "beat", environment))
        for log in logs:
            self.wait_until_ready(log)

    def celery(
        self, app: str, role: str, environment: dict[str, str], arguments: Sequence[str] = ()
    ) -> Path:
        """Start `celery -A app role`; returns its log, for `wait_until_ready`."""
        name = uuid4().hex
        command = ["celery", "-A", app, role, "--loglevel", "INFO"]
        if role == "beat":
            command += ["--schedule", str(self._folder / f"{name}.schedule")]
        else:
            command += ["--hostname", f"{name}@bench"]
        return self.run(role, [*command, *arguments], environment)

    def run(self, role: str, command: Sequence[str], environment: Mapping[str, str]) -> Path:
        """Start a program of the virtual environment; returns its log."""
        log = self._folder / f"{role}-{uuid4().hex}.log"
        program, *arguments = command
        with log.open("w") as output:
            self._spawn(
                role,
                [str(BIN / program), *arguments],
                stdout=output,
                stderr=output,
                env=environment,
            )
        return log

    def wait_until_ready(self, log: Path, sign: str = "") -> None:
        """Wait until a process says in its log that it is ready, as Celery's do or by `sign`."""
        sign = sign or READY[log.name.partition("-")[0]]
        deadline = clock.monotonic() + READY_SECONDS
        while sign not in log.read_text():
            if clock.monotonic() > deadline or self._ended():
                raise RuntimeError(f"did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def usage(self) -> Usage:
        """What the processes of this scene use, by role."""
        return Usage(self._pids)

    def arrivals(self) -> list[tuple[str, float]]:
        """Return and forget the requests: payment session id or event id, and when each came."""
        with urllib.request.urlopen(f"{self.klarna_url}{ARRIVALS}") as answer:  # noqa: S310 - ours
            return [(name, at) for name, at in json.load(answer)]

    def check(self) -> None:
        """Fail where a process has ended."""
        if self._ended():
            raise RuntimeError("a process ended amid the benchmark")

    def close(self) -> None:
        """End every process."""
        self.connection.close()
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _ended(self) -> bool:
        return any(process.poll() is not None for process in self._running)

    def _spawn(self, role: str, command: list[str], **options: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603 - the project's own
            command, stdin=subprocess.DEVNULL, text=True, start_new_session=True, **options
        )
        self._running.append(process)
        self._pids.setdefault(role, []).append(process.pid)
        return process
