"""Postgres: its data folder, its options, its log messages."""

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

from devkit.embedded.account import identity, own
from devkit.embedded.contract import EmbeddedServerError, ServerName, ServerOrder
from devkit.embedded.data_dir import DataDir, new_folder, reachable_program
from devkit.embedded.process_lifetime import remove_shared_memory
from devkit.embedded.supervision import SupervisedServer, clean_environment, error_line

USER = "app"
# In postmaster.pid, counted from 0: key and id of the shared memory segment.
SEGMENT_LINE = 6
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "log_destination": "stderr",
    "logging_collector": "off",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # In the data folder: segments in /dev/shm would be left by a killed server.
    "dynamic_shared_memory_type": "mmap",
}
# Commits still reach the operating system, so a killed server loses none of them.
EPHEMERAL_OPTIONS = {"fsync": "off", "max_wal_size": "256MB"}


class PostgresServer(SupervisedServer):
    """One cluster of the found major version, owned by the user `app`."""

    name: ClassVar[ServerName] = "postgres"
    # "Fast shutdown": ends sessions, writes a checkpoint, waits for no client.
    stop_signal = signal.SIGINT
    ready_sign = "database system is ready to accept connections"
    # A server that was just killed may not have ended yet.
    busy_signs = (
        'lock file "postmaster.pid" already exists',
        "is still in use",
        "pre-existing shared memory block",
    )

    def __init__(self, data_dir: DataDir, order: ServerOrder) -> None:
        super().__init__(data_dir, port=order.port)
        self._program = reachable_program(order.binary, data_dir)
        self._data = data_dir.home / f"postgres-{self._major_version()}"

    @property
    def url(self) -> str:
        """The URL of the database `postgres`."""
        return f"postgresql://{USER}:{self.data_dir.password}@127.0.0.1:{self.port}/postgres"

    def folder(self) -> Path:
        """Return its data folder."""
        return self._data

    def command(self) -> list[str]:
        """Return the command with all options, so that no file has to be edited."""
        options = OPTIONS | {"port": str(self.port)}
        if self.data_dir.ephemeral:
            options |= EPHEMERAL_OPTIONS
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [str(self._program), "-D", str(self._data), *settings]

    def prepare(self) -> None:
        """Create the cluster, once.

        Raises:
            EmbeddedServerError: there is one of another major version, or initdb failed.
        """
        if self._data.exists():
            return
        self._refuse_other_major_version()
        new = self._data.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new_folder(new, self.data_dir.account)
        self._initialise(new)
        # The cluster gets its name once it is complete.
        new.rename(self._data)

    def kill(self) -> None:
        """Kill it with its sessions, and remove its shared memory segment."""
        segment = self._shared_memory()
        super().kill()
        if segment is not None:
            remove_shared_memory(segment)

    def _shared_memory(self) -> int | None:
        """Return the System V segment that a killed server would leave."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        owned = len(lines) > SEGMENT_LINE and lines[0] == str(self.pid)
        key_and_id = lines[SEGMENT_LINE].split() if owned else []
        return int(key_and_id[-1]) if key_and_id else None

    def _major_version(self) -> int:
        shown = self._call([str(self._program), "--version"]).stdout
        found = re.search(r"\d+", shown)
        if found is None:
            raise EmbeddedServerError(f"{self._program} does not print its version")
        return int(found.group())

    def _refuse_other_major_version(self) -> None:
        wanted = self._data.name.removeprefix("postgres-")
        for other in sorted(self.data_dir.home.glob("postgres-*[0-9]")):
            held = other.name.removeprefix("postgres-")
            raise EmbeddedServerError(
                f"{self.data_dir.home} holds data of Postgres {held}, but the one found here is"
                f" {wanted}: install Postgres {held}, or move {other.name} away"
            )

    def _initialise(self, data: Path) -> None:
        password = data.with_suffix(".password")
        password.touch(mode=0o600)
        try:
            password.write_text(self.data_dir.password)
            own(password, self.data_dir.account)
            self._call(self._initdb(data, password))
        finally:
            password.unlink()

    def _initdb(self, data: Path, password: Path) -> list[str]:
        command = [str(self._program.with_name("initdb")), f"--pgdata={data}"]
        command += [f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"]
        command += ["--encoding=UTF8", "--locale=C"]
        return [*command, "--no-sync"] if self.data_dir.ephemeral else command

    def _call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        called = subprocess.run(  # noqa: S603 - a program found by binaries.py, no shell
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=clean_environment(),
            **identity(self.data_dir.account),
        )
        if called.returncode:
            program = Path(command[0]).name
            raise EmbeddedServerError(f"{program} failed: {error_line(called.stderr)}")
        return called
