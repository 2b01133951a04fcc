"""A real RabbitMQ for one test, from the system's package `rabbitmq-server`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.flower import free_port
from tests.support.processes import Program
from tests.support.system_packages import program_of

# Not what is on PATH: that is Debian's wrapper, for root and its own account only.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# One scheduler: the broker of a test needs little.
ERLANG = "+S 1:1 +sbwt none"


class RabbitMq(Program):
    """A broker of one node; persistent messages survive `kill` and `start`."""

    def __init__(self, folder: Path, *, names_port: int) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        super().__init__(
            [SERVER],
            ready="Server startup complete",
            cwd=folder,
            env=_environment(folder, self.port, names_port),
            log_file=folder / "rabbitmq.log",
        )


def _environment(folder: Path, port: int, names_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        # Where Erlang keeps its cookie.
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(names_port),
        "RABBITMQ_NODENAME": f"test-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "no-plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
    }


@contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitMq]:
    """Yield a started broker, which is stopped at the end."""
    program_of("rabbitmq-server", SERVER)
    names_port = free_port()
    names = Program(
        [shutil.which("epmd") or "epmd", "-d", "-address", "127.0.0.1", "-port", str(names_port)],
        ready="epmd running",
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        log_file=folder / "epmd.log",
    )
    with ExitStack() as stack:
        stack.enter_context(names)
        yield stack.enter_context(RabbitMq(folder, names_port=names_port))
