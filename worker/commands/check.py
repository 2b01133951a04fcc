"""check: is everything that a deployment needs there, and correct?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import anyio

from config.settings import InvalidSettingsError, Settings, parse
from worker.bootstrap.shared import poll_policy
from worker.bootstrap.shop_systems import commerce_layer, payway
from worker.commands.checked_environment import check_spelling
from worker.commands.checked_klarna import check_accounts
from worker.commands.checked_lists import check_unread_lists
from worker.commands.checked_postgres import check_postgres
from worker.commands.checked_redis import check_broker, check_redis
from worker.commands.findings import Finding, exit_code, print_findings
from worker.commands.output import WRONG_USAGE, counted
from worker.domain.deliveries import COMMERCE_LAYER, PAYWAY
from worker.services.errors import DeliveryError

_SHOP_SYSTEMS = {COMMERCE_LAYER: commerce_layer, PAYWAY: payway}


def check(*, as_json: bool) -> int:
    """Check everything, print one line each and return the exit code."""
    try:
        settings = parse(Settings)
        policy = poll_policy(settings)
    except InvalidSettingsError as error:
        faults = [Finding("settings", fault=fault) for fault in error.faults]
        print_findings([*faults, *check_spelling()], as_json=as_json)
        return WRONG_USAGE
    is_default = settings.poll_policy_file is None
    findings = [
        Finding("settings", detail="valid"),
        *check_spelling(),
        Finding("polling policy", detail="default" if is_default else policy.name),
        *check_postgres(settings),
        *check_redis(settings),
        check_broker(settings),
        *check_unread_lists(settings),
        *check_accounts(settings),
        *_check_webhooks(settings),
        *_check_shop_systems(settings),
    ]
    print_findings(findings, as_json=as_json)
    return exit_code(findings)


def _check_webhooks(settings: Settings) -> Iterator[Finding]:
    """The URL is not shown: it may be the receiver's secret."""
    for sink, endpoint in settings.webhooks.items():
        fault = None
        if sink not in settings.delivery_sinks:
            fault = "has a URL, but EVENT_SINKS does not name webhook: nothing is sent to it"
        types = "all" if endpoint.events is None else str(len(endpoint.events))
        noun = "event type" if types == "1" else "event types"
        signed = f"signed with {counted(len(endpoint.secrets), 'secret')}"
        yield Finding(sink, fault, detail=f"{types} {noun}, {signed}")


def _check_shop_systems(settings: Settings) -> Iterator[Finding]:
    """Shop systems are asked for an access token, and for nothing else."""
    for sink, fault in anyio.run(_shop_system_faults, settings).items():
        yield Finding(f"sink {sink}", fault=fault, detail="grants an access token")


async def _shop_system_faults(settings: Settings) -> dict[str, str | None]:
    """Return each shop system that EVENT_SINKS names, with what is wrong or None."""
    found: dict[str, str | None] = {}
    async with AsyncExitStack() as stack:
        for sink, connect in _SHOP_SYSTEMS.items():
            if sink not in settings.event_sinks:
                continue
            try:
                await connect(stack, settings).authorize()
            except DeliveryError as error:
                found[sink] = str(error)
            else:
                found[sink] = None
    return found
