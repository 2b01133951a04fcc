"""The messages between the starting process and the supervisor.

One JSON object per line. Secrets travel on pipes and in files of mode 0600, never in arguments.
"""

import dataclasses
import json
from typing import Any, Literal, Self

ServerName = Literal["postgres", "valkey"]
Action = Literal["kill", "start_again", "restart"]


class EmbeddedServerError(RuntimeError):
    """An embedded server is missing, or cannot be started or reached; the message is one line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binary:
    """A server's program and the folders it needs.

    Attributes:
        path: the program.
        root: the folder that `parts` are relative to.
        parts: folders to copy with it; empty if it cannot be copied.
    """

    path: str
    root: str
    parts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerOrder:
    """One server to start; without a port the supervisor picks a free one."""

    binary: Binary
    port: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisorOrder:
    """The supervisor's first line: which servers, where, and the parent's process id."""

    state_dir: str
    ephemeral: bool
    parent: int
    servers: dict[ServerName, ServerOrder]

    def to_json(self) -> str:
        """Return one line, without the line break."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the order that `to_json` wrote."""
        fields = json.loads(line)
        fields["servers"] = {name: _server(order) for name, order in fields["servers"].items()}
        return cls(**fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """What runs: URLs by server; process ids by server and of the supervisor."""

    urls: dict[str, str]
    pids: dict[str, int]

    def to_json(self) -> str:
        """Return one line, without the line break."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a reply of the supervisor.

        Raises:
            EmbeddedServerError: the reply is an error, and this is its text.
        """
        fields = json.loads(line)
        if "error" in fields:
            raise EmbeddedServerError(fields["error"])
        return cls(**fields)


def _server(fields: dict[str, Any]) -> ServerOrder:
    binary = fields["binary"]
    parts = tuple(binary.pop("parts"))
    return ServerOrder(binary=Binary(parts=parts, **binary), port=fields["port"])
