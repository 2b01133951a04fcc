"""A real PgBouncer in transaction mode, from the system's package `pgbouncer`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.support.flower import free_port
from tests.support.processes import Program
from tests.support.system_packages import program_of

SERVER = Path("/usr/sbin/pgbouncer")
# Fewer than a worker's own pool: transactions do share connections.
CONNECTIONS = 3

CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
"""


@contextmanager
def pgbouncer(database_url: str, folder: Path) -> Iterator[str]:
    """Return the URL of the same database behind a started PgBouncer."""
    program_of("pgbouncer", SERVER)
    server, own_port = make_url(database_url), free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            host=server.host,
            port=server.port or 5432,
            user=server.username,
            password=server.password,
            own_port=own_port,
            connections=CONNECTIONS,
        )
    )
    # It refuses to run as root.
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = Program(
        [SERVER, *account, configuration],
        ready="process up",
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        log_file=folder / "pgbouncer.log",
    )
    behind = server.set(host="127.0.0.1", port=own_port, query={"pgbouncer": "true"})
    with process:
        yield behind.render_as_string(hide_password=False)
