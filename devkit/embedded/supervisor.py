"""The process that owns the servers: `python -m devkit.embedded.supervisor`.

Reads commands from stdin and replies on stdout. It ends with its servers when stdin or its parent
ends, or when a server ends by itself. It must stay in one thread.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from devkit.embedded.contract import (
    Action,
    EmbeddedServerError,
    Running,
    ServerName,
    SupervisorOrder,
)
from devkit.embedded.data_dir import open_data_dir
from devkit.embedded.postgres import PostgresServer
from devkit.embedded.process_lifetime import adopt_orphans, children_of, kill_adopted
from devkit.embedded.state import forget_running, publish_running, remove_folder
from devkit.embedded.supervision import SupervisedServer
from devkit.embedded.valkey import ValkeyServer

WATCH_SECONDS = 0.2
KINDS: dict[ServerName, type[PostgresServer | ValkeyServer]] = {
    "valkey": ValkeyServer,
    "postgres": PostgresServer,
}


class Supervisor:
    """Owns the servers of one state folder."""

    def __init__(self, order: SupervisorOrder) -> None:
        self._parent = order.parent
        self._state_dir = Path(order.state_dir)
        self._ephemeral = order.ephemeral
        self._orders = order.servers
        self._servers: dict[ServerName, SupervisedServer] = {}
        self._must_end = False

    def serve(self) -> None:
        """Start the servers, obey commands until the end, leave nothing running.

        Raises:
            EmbeddedServerError: a server did not start, or ended by itself.
        """
        try:
            self._start_all()
            self._reply()
            while not self._has_to_end():
                self._obey_next()
        finally:
            self._end()

    def note_signal(self, _number: int, _frame: FrameType | None) -> None:
        """End before the next command."""
        self._must_end = True

    def _start_all(self) -> None:
        data_dir = open_data_dir(self._state_dir, ephemeral=self._ephemeral)
        for name, kind in KINDS.items():
            if order := self._orders.get(name):
                self._servers[name] = kind(data_dir, order)
                self._servers[name].start()

    def _has_to_end(self) -> bool:
        for server in self._servers.values():
            if message := server.unexpected_end():
                raise EmbeddedServerError(message)
        return self._must_end or os.getppid() != self._parent

    def _obey_next(self) -> None:
        readable, _, _ = select.select([sys.stdin], [], [], WATCH_SECONDS)
        if not readable:
            return
        line = sys.stdin.readline()
        if not line:
            self._must_end = True
            return
        command = json.loads(line)
        self._obey(command["action"], self._servers[command["server"]])
        self._reply()

    def _obey(self, action: Action, server: SupervisedServer) -> None:
        if action == "kill":
            server.kill()
        elif action == "restart":
            server.stop()
        if action != "kill" and server.pid is None:
            server.start()

    def _reply(self) -> None:
        running = Running(
            urls={name: server.url for name, server in self._servers.items()},
            pids={"supervisor": os.getpid()}
            | {name: server.pid for name, server in self._servers.items() if server.pid},
        )
        publish_running(self._state_dir, running)
        _say(running.to_json())

    def _end(self) -> None:
        forget_running(self._state_dir)
        for server in self._servers.values():
            server.stop()
        kill_adopted(children_of(os.getpid()))
        if self._ephemeral:
            remove_folder(self._state_dir)


def main() -> int:
    """Serve the order on stdin's first line; return 0 after a requested end, else 1."""
    os.umask(0o077)
    adopt_orphans()
    supervisor = Supervisor(SupervisorOrder.from_json(sys.stdin.readline()))
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, supervisor.note_signal)
    try:
        supervisor.serve()
    except BrokenPipeError:
        return 1
    except (EmbeddedServerError, OSError) as error:
        with suppress(BrokenPipeError):
            _say(json.dumps({"error": str(error)}))
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
