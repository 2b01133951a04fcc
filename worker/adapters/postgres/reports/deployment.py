"""What `check` asks of the database server: its version, its clock, the rights of the role."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from worker.adapters.postgres.reports.health import ProcessReports

# As docs/roles.sql grants them to klarna_sessions_worker.
_RIGHTS = {
    "payment_sessions": "SELECT INSERT UPDATE DELETE",
    "status_transitions": "SELECT INSERT",
    "outbox_messages": "SELECT INSERT",
    "accounts": "SELECT INSERT UPDATE",
    "outbox_deliveries": "SELECT INSERT UPDATE",
    "stream_generations": "SELECT INSERT UPDATE",
    "webhook_endpoints": "SELECT INSERT UPDATE",
    **dict.fromkeys(
        ("refused_messages", "early_confirmations", "processes", "queues"),
        "SELECT INSERT UPDATE DELETE",
    ),
}
_ALLOWED = text("SELECT has_table_privilege(to_regclass(:table), :right) AS allowed")
_SERVER = text("""
    SELECT current_setting('server_version_num')::int / 10000 AS version, clock_timestamp() AS now
""")


class DeploymentReports(ProcessReports):
    """Reports for `check`; a context manager."""

    def server(self) -> tuple[int, datetime]:
        """Return the major version and the server's time."""
        (row,) = self._rows(_SERVER)
        return row["version"], row["now"]

    def missing_rights(self) -> Sequence[str]:
        """Return the rights that a worker needs and this role lacks, such as `INSERT on accounts`.

        Tables that do not exist are left out.
        """
        return [
            f"{right} on {table}"
            for table, rights in _RIGHTS.items()
            for right in rights.split()
            if self._rows(_ALLOWED, table=table, right=right)[0]["allowed"] is False
        ]
