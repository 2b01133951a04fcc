"""Real Postgres and Valkey on this machine, for `demo`, `up` and the tests.

For development only. It imports nothing of `worker` and needs the standard library only.
"""

from devkit.embedded.contract import EmbeddedServerError, ServerName
from devkit.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedServerError", "EmbeddedServers", "ServerName"]
