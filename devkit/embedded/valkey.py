"""Valkey: its configuration, the words of its log."""

import signal
from pathlib import Path
from typing import ClassVar

from devkit.embedded.account import own
from devkit.embedded.contract import ServerName, ServerOrder
from devkit.embedded.data_dir import Place, new_folder, reachable_program
from devkit.embedded.supervision import SupervisedServer

# Redis 6.2 knows all of these, too. The append-only file reaches the operating system before
# an answer leaves, so a killed server loses nothing that it confirmed.
CONFIGURATION = """\
port {port}
bind 127.0.0.1
protected-mode yes
requirepass {password}
daemonize no
save ""
appendonly yes
appendfsync {fsync}
maxmemory-policy noeviction
"""


class ValkeyServer(SupervisedServer):
    """One Valkey, or a Redis where only that was found."""

    name: ClassVar[ServerName] = "valkey"
    stop_signal = signal.SIGTERM
    ready_sign = "Ready to accept connections"

    def __init__(self, place: Place, order: ServerOrder) -> None:
        super().__init__(place, port=order.port)
        self._program = reachable_program(order.binary, place)
        self._data = place.home / "valkey"

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://:{self.place.password}@127.0.0.1:{self.port}/0"

    def folder(self) -> Path:
        """Its data folder."""
        return self._data

    def prepare(self) -> None:
        """Make its data folder, once."""
        if not self._data.exists():
            new_folder(self._data, self.place.account)

    def command(self) -> list[str]:
        """The server with its configuration file, written anew for the present port."""
        return [str(self._program), str(self._write_configuration())]

    def _write_configuration(self) -> Path:
        # Not in the data folder: where the account rules, root writes no file.
        path = self.place.home / "valkey.conf"
        path.touch(mode=0o600)
        own(path, self.place.account)
        fsync = "no" if self.place.ephemeral else "everysec"
        path.write_text(
            CONFIGURATION.format(port=self.port, password=self.place.password, fsync=fsync)
        )
        return path
