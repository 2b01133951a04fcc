"""Valkey: its configuration, its log messages."""

import signal
from pathlib import Path
from typing import ClassVar

from devkit.embedded.account import own
from devkit.embedded.contract import ServerName, ServerOrder
from devkit.embedded.data_dir import DataDir, new_folder, reachable_program
from devkit.embedded.supervision import SupervisedServer

# Redis 6.2 knows all of these, too. The append-only file is written before a reply is
# sent, so a killed server loses nothing that it confirmed.
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
    """A Valkey, or a Redis where only that was found."""

    name: ClassVar[ServerName] = "valkey"
    stop_signal = signal.SIGTERM
    ready_sign = "Ready to accept connections"

    def __init__(self, data_dir: DataDir, order: ServerOrder) -> None:
        super().__init__(data_dir, port=order.port)
        self._program = reachable_program(order.binary, data_dir)
        self._data = data_dir.home / "valkey"

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://:{self.data_dir.password}@127.0.0.1:{self.port}/0"

    def folder(self) -> Path:
        """Return its data folder."""
        return self._data

    def prepare(self) -> None:
        """Create its data folder, once."""
        if not self._data.exists():
            new_folder(self._data, self.data_dir.account)

    def command(self) -> list[str]:
        """Return the command; writes the configuration file for the current port."""
        return [str(self._program), str(self._write_configuration())]

    def _write_configuration(self) -> Path:
        # Not in the data folder: root writes no file where another account can.
        path = self.data_dir.home / "valkey.conf"
        path.touch(mode=0o600)
        own(path, self.data_dir.account)
        fsync = "no" if self.data_dir.ephemeral else "everysec"
        path.write_text(
            CONFIGURATION.format(port=self.port, password=self.data_dir.password, fsync=fsync)
        )
        return path
