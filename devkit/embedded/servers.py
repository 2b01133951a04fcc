"""`EmbeddedServers`, the interface. The servers are children of the supervisor process.

An object may be used by one thread only.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from devkit.embedded.binaries import find_postgres, find_valkey
from devkit.embedded.contract import (
    Action,
    EmbeddedServerError,
    Running,
    ServerName,
    ServerOrder,
    SupervisorOrder,
)
from devkit.embedded.process_lifetime import is_alive
from devkit.embedded.state import (
    forget_running,
    new_ephemeral_folder,
    open_kept_folder,
    read_running,
    remove_folder,
    take_lock,
)
from devkit.embedded.supervisor_process import SupervisorProcess
from devkit.waiting import polls

ATTACH_SECONDS = 60.0
END_SECONDS = 20.0


class EmbeddedServers:
    """Real Postgres and Valkey on 127.0.0.1, for as long as this object is started.

    With a `state_dir`, data is kept and durable; while they run, another process that names the
    same folder attaches to them, until the one that started them stops. Without,
    everything lives in a fresh private folder, which is removed at the end. Started by root, the
    servers run as an unprivileged account; if that cannot reach a `state_dir`, the data is in
    `/var/lib/klarna-session-worker`, and the link `data-of-root` in the folder points there.

    Args:
        state_dir: where data is kept; None for an ephemeral folder.
        postgres: whether to start Postgres.
        valkey: whether to start Valkey.
        postgres_port: the port to use; None for any free one.
        valkey_port: as `postgres_port`.
        ephemeral_within: where an ephemeral folder is made; None for the system's temporary one.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        postgres: bool = True,
        valkey: bool = True,
        postgres_port: int | None = None,
        valkey_port: int | None = None,
        ephemeral_within: Path | None = None,
    ) -> None:
        self._kept_dir = state_dir
        self._ephemeral_within = ephemeral_within
        self._ports: dict[ServerName, int | None] = {}
        if postgres:
            self._ports["postgres"] = postgres_port
        if valkey:
            self._ports["valkey"] = valkey_port
        self._state_dir: Path | None = None
        self._supervisor: SupervisorProcess | None = None
        self._running: Running | None = None
        self._failure: str | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def database_url(self) -> str:
        """`postgresql://app:…@127.0.0.1:<port>/postgres`, the same after kill and restart."""
        return self._url("postgres")

    @property
    def redis_url(self) -> str:
        """`redis://:…@127.0.0.1:<port>/0`, the same after kill and restart."""
        return self._url("valkey")

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the supervisor and of each server that runs."""
        return dict(self._started().pids)

    @property
    def state_dir(self) -> Path:
        """Where data and the logs `postgres.log` and `valkey.log` are."""
        if self._state_dir is None:
            raise EmbeddedServerError("the embedded servers are not started")
        return self._state_dir

    @property
    def attached(self) -> bool:
        """Whether another process started the servers, so that `stop` leaves them running."""
        return self._running is not None and self._supervisor is None

    def start(self) -> Self:
        """Start the servers, or attach to those that run in the state folder.

        Raises:
            EmbeddedServerError: one is missing or does not start.
        """
        if self._running is not None:
            return self
        orders = {name: self._order(name) for name in self._ports}
        self._state_dir = (
            open_kept_folder(self._kept_dir)
            if self._kept_dir
            else new_ephemeral_folder(self._ephemeral_within)
        )
        try:
            self._running = self._start_or_attach(self._state_dir, orders)
            self._check_all_wanted(self._running)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what this object started; safe to call again."""
        running, self._running = self._running, None
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None and not supervisor.end():
            self._clean_up_after(running)
        if self._kept_dir is None and self._state_dir is not None:
            remove_folder(self._state_dir)
        self._state_dir = None
        self._failure = None

    def check(self) -> None:
        """Check that the servers still run.

        Raises:
            EmbeddedServerError: one ended by itself, or the supervisor did and all servers with it.
        """
        running = self._started()
        if self._supervisor is None:
            if not is_alive(running.pids["supervisor"]):
                raise EmbeddedServerError("the embedded servers were stopped by their owner")
        elif self._supervisor.has_ended():
            self._failure = self._failure or self._supervisor.why_it_ended()
            raise EmbeddedServerError(self._failure)

    def kill(self, server: ServerName) -> None:
        """Kill one server; the other runs on, and the data stays."""
        self._ask("kill", server)

    def start_again(self, server: ServerName) -> None:
        """Start a killed server on its port, with its data; do nothing if it runs."""
        self._ask("start_again", server)

    def restart(self, server: ServerName) -> None:
        """Stop one server and start it again on its port, with its data."""
        self._ask("restart", server)

    def _order(self, name: ServerName) -> ServerOrder:
        binary = find_postgres() if name == "postgres" else find_valkey()
        return ServerOrder(binary=binary, port=self._ports[name])

    def _start_or_attach(self, state_dir: Path, orders: dict[ServerName, ServerOrder]) -> Running:
        for _ in polls(ATTACH_SECONDS, pause=0.05):
            lock = take_lock(state_dir)
            if lock is not None:
                return self._spawn(state_dir, orders, lock)
            if running := read_running(state_dir):
                return running
        raise EmbeddedServerError(f"another process is still starting servers in {state_dir}")

    def _spawn(self, state_dir: Path, orders: dict[ServerName, ServerOrder], lock: int) -> Running:
        forget_running(state_dir)
        order = SupervisorOrder(
            state_dir=str(state_dir),
            ephemeral=self._kept_dir is None,
            parent=os.getpid(),
            servers=orders,
        )
        try:
            self._supervisor = SupervisorProcess(order, lock=lock)
        finally:
            os.close(lock)
        return self._supervisor.first_reply()

    def _check_all_wanted(self, running: Running) -> None:
        for name in self._ports:
            if name not in running.urls:
                raise EmbeddedServerError(f"what runs in {self.state_dir} has no {name}")

    def _ask(self, action: Action, server: ServerName) -> None:
        self._url(server)
        if self._supervisor is None:
            raise EmbeddedServerError("only the process that started the servers may do that")
        self._running = self._supervisor.ask(action, server)

    def _url(self, server: ServerName) -> str:
        if server not in self._ports:
            raise EmbeddedServerError(f"{server} was not asked for")
        return self._started().urls[server]

    def _started(self) -> Running:
        if self._running is None:
            raise EmbeddedServerError("the embedded servers are not started")
        return self._running

    def _clean_up_after(self, running: Running | None) -> None:
        """Wait for servers whose supervisor was killed: the kernel has signalled them."""
        pids = running.pids.values() if running else ()
        for _ in polls(END_SECONDS):
            if not any(is_alive(pid) for pid in pids):
                return
