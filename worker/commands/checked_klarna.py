"""check's findings about Klarna: does each account's base URL accept its credentials?

It reads a payment session that does not exist and expects 404. Nothing is changed at Klarna.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import anyio

from config.settings import Settings, account_variables
from worker.bootstrap.shared import quota_configs
from worker.bootstrap.worker import open_klarna
from worker.commands.findings import Finding
from worker.commands.probes import Probe
from worker.domain.errors import (
    AccountRefusedError,
    ConnectionFailedError,
    DeadlineExceededError,
    ObservationError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.quota import ReadQuotaConfig
from worker.domain.session import Kind, PaymentSession

# The client's own deadline says more than the probe's.
_MARGIN_SECONDS = 5.0


def account_probes(settings: Settings) -> Iterator[Probe]:
    """Return a probe for each account."""
    for name, quota in sorted(quota_configs(settings).items()):
        yield Probe(
            f"account {name}",
            partial(_check, name, quota, settings),
            seconds=settings.http_timeout_seconds + _MARGIN_SECONDS,
        )


def _check(name: str, quota: ReadQuotaConfig, settings: Settings) -> Iterator[Finding]:
    if name in settings.accounts_without_base_url:
        yield Finding(f"account {name}", warning=_unset(name, settings))
    fault = anyio.run(_read_fault, name, settings)
    budget = f"{quota.limit * quota.share:g} of {quota.limit:g} reads a second"
    base_url = settings.accounts[name].base_url
    detail = f"{base_url} accepts the credentials; {budget}"
    yield Finding(f"account {name}", fault, detail=detail)


def _unset(name: str, settings: Settings) -> str:
    variable = f"{account_variables(name)}BASE_URL"
    origins = ", ".join(settings.account_origins[name])
    return (
        f"{variable} is not set, so the credentials may go to {origins}: set it to the one of your "
        "region and environment"
    )


async def _read_fault(name: str, settings: Settings) -> str | None:
    klarna = open_klarna(settings)
    try:
        await klarna.read(_unknown_session(name))
    except ObservationError as error:
        return _fault(error, name, settings)
    finally:
        await klarna.aclose()
    return None


def _unknown_session(account: str) -> PaymentSession:
    return PaymentSession(
        session_id=str(uuid.uuid4()),
        account=account,
        kind=Kind.HPP,
        session_url="",
        tracked_at=datetime.min.replace(tzinfo=UTC),
    )


def _fault(error: ObservationError, name: str, settings: Settings) -> str | None:
    variable = account_variables(name)
    base_url = settings.accounts[name].base_url
    match error:
        case SessionNotFoundError():
            return None
        case AccountRefusedError():
            return (
                f"{base_url} refuses the credentials (HTTP {error.status_code}): correct "
                f"{variable}USERNAME and {variable}PASSWORD, or {variable}BASE_URL: credentials "
                "belong to one region, and to playground or live"
            )
        case DeadlineExceededError() | ConnectionFailedError():
            return (
                f"{base_url} cannot be reached ({error}): is there a firewall, and is "
                f"{variable}BASE_URL correct? Behind a proxy, set KLARNA_PROXY_URL"
            )
        case RateLimitedError():
            return f"{base_url} limits requests now (HTTP 429): try again"
        case ServerError():
            return f"{base_url} responds with HTTP {error.status_code}: Klarna's fault, try again"
    return f"{base_url} does not respond like Klarna ({error}): is {variable}BASE_URL correct?"
