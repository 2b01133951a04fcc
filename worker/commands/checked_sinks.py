"""check's findings about sinks: where events go, and whether the targets can be reached.

Nothing is sent to a sink. Shop systems are asked for an access token, and for nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import anyio

from config.settings import Settings
from config.webhooks import WebhookEndpointSettings
from worker.bootstrap.shop_systems import commerce_layer, payway
from worker.commands.findings import Finding
from worker.commands.output import counted
from worker.commands.probes import Probe
from worker.domain.addresses import is_public
from worker.domain.deliveries import COMMERCE_LAYER, PAYWAY
from worker.services.errors import DeliveryError

_SHOP_SYSTEMS = {COMMERCE_LAYER: commerce_layer, PAYWAY: payway}
_PORTS = {"http": 80, "https": 443}


def sink_probes(settings: Settings) -> Iterator[Probe]:
    """Return a probe for each sink, and for each webhook endpoint."""
    if "redis_stream" in settings.event_sinks:
        hours = f"entries are kept for {settings.event_stream_retention_hours} h"
        yield _said("redis_stream", f"stream {settings.event_stream}, {hours}")
    if "celery" in settings.event_sinks:
        task, queue = settings.celery_event_task, settings.celery_event_queue
        yield _said("celery", f"task {task} on queue {queue}")
    for name, endpoint in settings.webhooks.items():
        yield _webhook_probe(name, endpoint, settings)
    for sink in _SHOP_SYSTEMS:
        if sink in settings.event_sinks:
            yield _shop_system_probe(sink, settings)


def _said(sink: str, detail: str) -> Probe:
    return Probe(f"sink {sink}", lambda: [Finding(f"sink {sink}", detail=detail)])


def _webhook_probe(name: str, endpoint: WebhookEndpointSettings, settings: Settings) -> Probe:
    """The URL is not shown: it may be the receiver's secret."""
    types = "all" if endpoint.events is None else str(len(endpoint.events))
    noun = "event type" if types == "1" else "event types"
    signed = f"signed with {counted(len(endpoint.secrets), 'secret')}"

    def findings() -> Iterator[Finding]:
        if name in settings.delivery_sinks:
            url = endpoint.url.get_secret_value()
            fault = connection_fault(url, allow_private=settings.webhook_allow_private)
        else:
            fault = "has a URL, but EVENT_SINKS does not name webhook: nothing is sent to it"
        yield Finding(name, fault, detail=f"accepts connections; {types} {noun}, {signed}")

    return Probe(name, findings)


def connection_fault(url: str, *, allow_private: bool) -> str | None:
    """Return why the URL's host cannot be reached by name, TCP and TLS, or None; sends nothing."""
    split = urlsplit(url)
    host, port = split.hostname or "", split.port or _PORTS[split.scheme.lower()]
    context = ssl.create_default_context() if split.scheme.lower() == "https" else None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return "the name of its host cannot be resolved: is its URL correct?"
    addresses = [str(address[0]) for *_, address in found]
    if not allow_private and not all(map(is_public, addresses)):
        return "its address is not a public one: WEBHOOK_ALLOW_PRIVATE"
    try:
        anyio.run(_connect, host, port, context)
    except ssl.SSLError as error:
        return f"its TLS certificate or version is not accepted ({error.reason or 'no reason'})"
    except OSError as error:
        return (
            f"does not accept connections ({type(error).__name__}): is it running, and does a "
            "firewall let this machine through?"
        )
    return None


async def _connect(host: str, port: int, context: ssl.SSLContext | None) -> None:
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    writer.close()


def _shop_system_probe(sink: str, settings: Settings) -> Probe:
    def findings() -> Iterator[Finding]:
        fault = anyio.run(_authorization_fault, sink, settings)
        yield Finding(f"sink {sink}", fault=fault, detail="grants an access token")

    return Probe(f"sink {sink}", findings)


async def _authorization_fault(sink: str, settings: Settings) -> str | None:
    async with AsyncExitStack() as stack:
        try:
            await _SHOP_SYSTEMS[sink](stack, settings).authorize()
        except DeliveryError as error:
            return str(error)
    return None
