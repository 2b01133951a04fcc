"""up: run everything on this machine; stop it in order."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy.exc
from cryptography.fernet import Fernet

from config.secret_files import is_set
from config.settings import Settings, load
from devkit.commands.processes import ProcessEndedError, Processes
from devkit.embedded import EmbeddedServerError, EmbeddedServers
from devkit.processes import BIN
from worker.adapters.postgres.error_messages import connection_fault, fault_line
from worker.commands import migrating
from worker.commands.output import console, fail

WATCH_SECONDS = 0.5
# In the folder of the state. `worker.cli` reads the one in `.local`.
ENVIRONMENT_FILE = "environment"
_SHARED = ("DATABASE_URL", "REDIS_URL", "TOKEN_ENCRYPTION_KEYS")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(*, state: Path, flower_port: int, console_port: int) -> None:
    """Run servers (where no URL is set), migrations and every process until a signal."""
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        _refuse_a_taken_port("--flower-port", flower_port)
        _refuse_a_taken_port("--console-port", console_port)
        _create(state)
        _refuse_a_second_one(stack, state)
        servers = _start_servers(stack, state)
        _fill_in("TOKEN_ENCRYPTION_KEYS", _kept(state / "token-key", _new_key))
        login = "flower:" + _kept(state / "flower-password", _new_password)
        _fill_in("FLOWER_BASIC_AUTH", login)
        _fill_in("CONSOLE_BASIC_AUTH", login)
        _fill_in("CONSOLE_REPLAY", "true")
        _make_flower_persistent(state)
        load(Settings)
        _write_environment(stack, state)
        _migrate()
        processes = stack.enter_context(Processes(os.environ))
        processes.start_celery("beat", "beat", "--loglevel=INFO")
        processes.start_celery("worker", "--quiet", "worker", "--loglevel=INFO")
        start_flower(processes, flower_port)
        start_console(processes, console_port)
        console.print(
            f"Up. Flower: http://127.0.0.1:{flower_port} Console: http://127.0.0.1:{console_port} "
            "(login: FLOWER_BASIC_AUTH and CONSOLE_BASIC_AUTH, or user flower and the password in "
            f"{state}/flower-password). Ctrl-C stops everything."
        )
        watch(processes, servers)


def start_flower(processes: Processes, port: int) -> None:
    """Start Flower on this machine's loopback address; FLOWER_BASIC_AUTH is its login."""
    processes.start_celery(
        "flower", "flower", f"--port={port}", "--address=127.0.0.1", "--logging=error"
    )


def start_console(processes: Processes, port: int) -> None:
    """Start the console on this machine's loopback address; CONSOLE_BASIC_AUTH is its login."""
    processes.start("console", [str(BIN / "session-worker"), "console", f"--port={port}"])


def watch(processes: Processes, servers: EmbeddedServers | None) -> None:
    """Wait for a signal; fail if a child process ends by itself."""
    try:
        while True:
            processes.check()
            if servers is not None:
                servers.check()
            time.sleep(WATCH_SECONDS)
    except (ProcessEndedError, EmbeddedServerError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        console.print("Stopping.")


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into Ctrl-C, and let only the first signal interrupt."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - a handler's signature
        for each in _ENDINGS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in _ENDINGS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _refuse_a_taken_port(option: str, port: int) -> None:
    """Before anything starts: Flower would end with a traceback."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            fail(f"{option}: cannot listen on port {port}: {error.strerror}. Choose another port.")


def _create(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"--state: cannot create {state}: {error.strerror}")


def _refuse_a_second_one(stack: ExitStack, state: Path) -> None:
    """Hold the folder while this runs: at its end another would delete what this one wrote."""
    lock = stack.enter_context((state / "up.lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"--state: another `session-worker up` is running in {state}. Name another folder.")


def _start_servers(stack: ExitStack, state: Path) -> EmbeddedServers | None:
    """Start the servers that have no URL in the environment, and set their URLs."""
    postgres = not is_set("DATABASE_URL", os.environ)
    valkey = not is_set("REDIS_URL", os.environ)
    if not postgres and not valkey:
        return None
    try:
        servers = stack.enter_context(
            EmbeddedServers(state / "servers", postgres=postgres, valkey=valkey)
        )
    except EmbeddedServerError as error:
        fail(str(error))
    if postgres:
        os.environ["DATABASE_URL"] = servers.database_url
    if valkey:
        os.environ["REDIS_URL"] = servers.redis_url
    return servers


def _write_environment(stack: ExitStack, state: Path) -> None:
    """Write what `session-worker` in another terminal needs; removed at the end."""
    file = state / ENVIRONMENT_FILE
    stack.callback(file.unlink, missing_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    lines = (f"{name}='{os.environ[name]}'\n" for name in _SHARED if name in os.environ)
    file.write_text("".join(lines))


def _make_flower_persistent(state: Path) -> None:
    _fill_in("FLOWER_PERSISTENT", "true")
    _fill_in("FLOWER_DB", str(state / "flower"))
    _fill_in("FLOWER_STATE_SAVE_INTERVAL", "60000")


def _fill_in(name: str, value: str) -> None:
    """Set a variable that is missing, or empty as in a copy of .env.example."""
    if not is_set(name, os.environ):
        os.environ[name] = value


def _migrate() -> None:
    try:
        migrating.upgrade()
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error, sqlalchemy.exc.OperationalError):
            own = "Take DATABASE_URL out of .env, and `up` brings a Postgres of its own."
            fail(f"Postgres {connection_fault(error)} {own}")
        fault = fault_line(error)
        if fault is None:
            raise
        fail(fault)


def _kept(file: Path, make: Callable[[], str]) -> str:
    """Return the secret in `file`; created on first use, readable by its owner only."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(make())
    return file.read_text()


def _new_key() -> str:
    return Fernet.generate_key().decode()


def _new_password() -> str:
    return secrets.token_urlsafe(12)
