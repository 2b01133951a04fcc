"""The environment of the demo: embedded servers, the mock Klarna server, beat and worker."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from celery import Celery
from cryptography.fernet import Fernet

from devkit.commands.processes import Processes
from devkit.demo.receiver import WebhookReceiver
from devkit.demo.scenarios import EU, US
from devkit.embedded import EmbeddedServers
from devkit.sandbox.server import (
    DEFAULT_PASSWORD,
    DEFAULT_USERNAME,
    SandboxClient,
    SandboxServer,
)
from worker.commands import migrating

START_SECONDS = 30.0
STREAM = "payment-session-events"
# All that the processes get of this machine's environment: no setting of a deployment.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR")


class Environment:
    """A context manager; at its end no process and no file of it is left."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.servers = stack.enter_context(EmbeddedServers())
            sandbox = stack.enter_context(SandboxServer())
            self.sandbox: SandboxClient = sandbox.client
            for account in (EU, US):
                self.sandbox.put_account(account, username=account, password=f"{account}-password")
            self.receiver = stack.enter_context(WebhookReceiver())
            self.environment = _environment(self.servers, sandbox.url, self.receiver)
            os.environ["DATABASE_URL"] = self.servers.database_url
            migrating.upgrade()
            self.logs = Path(self.servers.state_dir) / "logs"
            self.logs.mkdir()
            self.processes = stack.enter_context(Processes(self.environment, log_folder=self.logs))
            self.processes.start_celery("beat", "beat", "--loglevel=INFO")
            worker = self.processes.start_celery("worker", "worker", "--loglevel=INFO")
            worker.wait_until_ready(within=START_SECONDS)
            # As in a shop: its own Celery app, which imports nothing of this project.
            self.shop = Celery("shop", broker=self.servers.redis_url, set_as_current=False)
            stack.callback(self.shop.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def check(self) -> None:
        """Check that everything still runs; raise an error if something ended by itself."""
        self.processes.check()
        self.servers.check()

    def write_environment(self) -> Path:
        """Write the environment for a shell, readable by its owner only."""
        file = self.logs.parent / "env"
        file.touch(mode=0o600)
        file.write_text(
            "".join(f"{k}='{v}'\n" for k, v in self.environment.items() if k not in _INHERITED)
        )
        return file


def _environment(
    servers: EmbeddedServers, klarna: str, receiver: WebhookReceiver
) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    accounts = {
        f"KLARNA_ACCOUNTS__{name.upper()}__{field}": value
        for name in (EU, US)
        for field, value in (
            ("USERNAME", name),
            ("PASSWORD", f"{name}-password"),
            ("BASE_URL", klarna),
        )
    }
    return {
        **inherited,
        **accounts,
        # Nor from a deployment's .env in the working directory.
        "PYTHON_DOTENV_DISABLED": "1",
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "KLARNA_USERNAME": DEFAULT_USERNAME,
        "KLARNA_PASSWORD": DEFAULT_PASSWORD,
        "KLARNA_BASE_URL": klarna,
        "KLARNA_ALLOWED_ORIGINS": klarna,
        "TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "EVENT_SINKS": "redis_stream,webhook",
        "EVENT_STREAM": STREAM,
        "WEBHOOK_URL": receiver.url,
        "WEBHOOK_SECRETS": receiver.secret,
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "FLOWER_BASIC_AUTH": f"demo:{secrets.token_urlsafe(12)}",
        # Two days of a session in half a minute.
        "HTTP_TIMEOUT_SECONDS": "3",
        "POLL_LEASE_SECONDS": "8",
        "POLL_EXPIRY_GRACE_SECONDS": "2",
        "POLL_MAX_INTERVAL_SECONDS": "2",
    }
