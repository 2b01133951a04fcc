"""The fault that check and health share: open sessions of an account that nobody can read."""

from __future__ import annotations

from collections.abc import Iterator

from config.settings import Settings
from worker.adapters.postgres.reports.sessions import Reports
from worker.commands.findings import Finding
from worker.domain.tracking import DEFAULT_ACCOUNT


def accounts_of_open_sessions(opened: Reports, settings: Settings) -> Iterator[Finding]:
    """A line for each account that the settings lost."""
    for row in opened.unknown_accounts(settings.accounts):
        account = row["account"]
        variable = "KLARNA_" if account == DEFAULT_ACCOUNT else f"KLARNA_ACCOUNTS__{account}__"
        names = f"{variable.upper()}USERNAME and {variable.upper()}PASSWORD"
        yield Finding(
            f"account {account}",
            f"is not configured, and {row['sessions']} open sessions wait for it: set {names}",
        )
