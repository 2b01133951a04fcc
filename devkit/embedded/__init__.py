"""Real Postgres and Valkey for a machine that has neither: for `demo`, `up` and the tests.

Development use only; it must not import anything else of the project, nor need more than Python.
"""

from devkit.embedded.contract import EmbeddedServerError, ServerName
from devkit.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedServerError", "EmbeddedServers", "ServerName"]
