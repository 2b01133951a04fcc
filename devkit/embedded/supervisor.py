"""The process that owns the servers: `python -m devkit.embedded.supervisor`.

Takes commands on stdin, answers on stdout, and ends with its servers when stdin ends, when its
parent is gone, or when a server dies unasked. It must stay in one thread.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from devkit.embedded.contract import Action, EmbeddedServerError, GuardOrder, Running, ServerName
from devkit.embedded.data_dir import open_place
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


class Guard:
    """Owns the servers of one state folder."""

    def __init__(self, order: GuardOrder) -> None:
        self._parent = order.parent
        self._state_dir = Path(order.state_dir)
        self._ephemeral = order.ephemeral
        self._orders = order.servers
        self._servers: dict[ServerName, SupervisedServer] = {}
        self._told_to_end = False

    def serve(self) -> None:
        """Start the servers, obey until the end, leave nothing running.

        Raises:
            EmbeddedServerError: a server did not start, or died unasked.
        """
        try:
            self._start_all()
            self._answer()
            while not self._is_over():
                self._obey_next()
        finally:
            self._end()

    def note_signal(self, _number: int, _frame: FrameType | None) -> None:
        """End at the next look around."""
        self._told_to_end = True

    def _start_all(self) -> None:
        place = open_place(self._state_dir, ephemeral=self._ephemeral)
        for name, kind in KINDS.items():
            if order := self._orders.get(name):
                self._servers[name] = kind(place, order)
                self._servers[name].start()

    def _is_over(self) -> bool:
        for server in self._servers.values():
            if message := server.unexpected_end():
                raise EmbeddedServerError(message)
        return self._told_to_end or os.getppid() != self._parent

    def _obey_next(self) -> None:
        readable, _, _ = select.select([sys.stdin], [], [], WATCH_SECONDS)
        if not readable:
            return
        line = sys.stdin.readline()
        if not line:
            self._told_to_end = True
            return
        command = json.loads(line)
        self._obey(command["action"], self._servers[command["server"]])
        self._answer()

    def _obey(self, action: Action, server: SupervisedServer) -> None:
        if action == "kill":
            server.kill()
        elif action == "restart":
            server.stop()
        if action != "kill" and server.pid is None:
            server.start()

    def _answer(self) -> None:
        running = Running(
            urls={name: server.url for name, server in self._servers.items()},
            pids={"guard": os.getpid()}
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
    """Serve the order on stdin's first line; exit code 0 when told to end, 1 otherwise."""
    os.umask(0o077)
    adopt_orphans()
    guard = Guard(GuardOrder.from_json(sys.stdin.readline()))
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, guard.note_signal)
    try:
        guard.serve()
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
