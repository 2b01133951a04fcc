"""A Valkey of a test's own, to be made a replica, to be loaded slowly, or to be locked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from devkit.embedded.binaries import find_valkey
from tests.support.flower import free_port
from tests.support.processes import Program

CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir {folder}
save ""
appendonly yes
key-load-delay {load_delay}
"""


class Valkey(Program):
    """A server whose data survives `kill` and `start`; `client` may do everything."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._folder_of_data = folder
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url)
        folder.mkdir(exist_ok=True)
        self._configure()
        super().__init__(
            [find_valkey().path, folder / "valkey.conf"],
            ready="Ready to accept connections",
            cwd=folder,
            env={"PATH": os.environ["PATH"]},
            log_file=folder / "valkey.log",
        )

    def _configure(self, *, load_delay: int = 0) -> None:
        configuration = CONFIGURATION.format(
            port=self._port, folder=self._folder_of_data, load_delay=load_delay
        )
        (self._folder_of_data / "valkey.conf").write_text(configuration)

    def become_replica(self) -> None:
        """Follow a primary that is away: every write is refused."""
        self.client.replicaof("127.0.0.1", "9")

    def become_primary(self) -> None:
        """Take writes again."""
        self.client.replicaof("NO", "ONE")

    def load_slowly(self) -> None:
        """Restart it; until `load_at_once` it replies LOADING."""
        with self.client.pipeline(transaction=False) as pipe:
            for number in range(50_000):
                pipe.set(f"key-{number}", "")
            pipe.execute()
        self.kill()
        self._configure(load_delay=1_000)
        self.start(wait=False)

    def load_at_once(self) -> None:
        """Finish loading."""
        self.client.config_set("key-load-delay", 0)


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    """A started server, stopped at the end."""
    with Valkey(folder) as started:
        yield started
        started.client.close()
