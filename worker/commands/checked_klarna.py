"""check's look at Klarna: does each account's address answer, and are its credentials taken?

It reads a payment session that does not exist: 404 is the right answer. Nothing is changed there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import anyio

from config.settings import Settings
from worker.bootstrap.shared import quota_configs
from worker.bootstrap.worker import open_klarna
from worker.commands.findings import Finding
from worker.domain.errors import (
    AccountRefusedError,
    ConnectionFailedError,
    DeadlineExceededError,
    ObservationError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.session import Kind, PaymentSession
from worker.domain.tracking import DEFAULT_ACCOUNT


def check_accounts(settings: Settings) -> Iterator[Finding]:
    """Settings were refused where an account's base URL is not an allowed origin."""
    faults = anyio.run(_asked, settings)
    for name, allowance in sorted(quota_configs(settings).items()):
        budget = f"{allowance.limit * allowance.share:g} of {allowance.limit:g} reads a second"
        base_url = settings.accounts[name].base_url
        detail = f"{budget} at {base_url}, which takes its credentials"
        yield Finding(f"account {name}", faults[name], detail=detail)


async def _asked(settings: Settings) -> dict[str, str | None]:
    klarna = open_klarna(settings)
    found: dict[str, str | None] = {}
    try:
        for name in settings.accounts:
            try:
                await klarna.read(_nobodys_session(name))
            except ObservationError as error:
                found[name] = _fault(error, name, settings)
            else:
                found[name] = None
    finally:
        await klarna.aclose()
    return found


def _nobodys_session(account: str) -> PaymentSession:
    return PaymentSession(
        session_id=str(uuid.uuid4()),
        account=account,
        kind=Kind.HPP,
        session_url="",
        tracked_at=datetime.min.replace(tzinfo=UTC),
    )


def _fault(error: ObservationError, name: str, settings: Settings) -> str | None:
    variable = "KLARNA_" if name == DEFAULT_ACCOUNT else f"KLARNA_ACCOUNTS__{name.upper()}__"
    base_url = settings.accounts[name].base_url
    match error:
        case SessionNotFoundError():
            return None
        case AccountRefusedError():
            return (
                f"{base_url} refuses its credentials (HTTP {error.status_code}): correct "
                f"{variable}USERNAME and {variable}PASSWORD, or {variable}BASE_URL: they belong to "
                "one region, and to playground or live"
            )
        case DeadlineExceededError() | ConnectionFailedError():
            return (
                f"{base_url} cannot be reached ({error}): is https to it open, and is "
                f"{variable}BASE_URL right? Behind a proxy, set KLARNA_PROXY_URL"
            )
        case RateLimitedError():
            return f"{base_url} limits its reads just now (HTTP 429): check again"
        case ServerError():
            return f"{base_url} answers HTTP {error.status_code}: that is Klarna's; try again"
    return f"{base_url} does not answer as Klarna does ({error}): is {variable}BASE_URL right?"
