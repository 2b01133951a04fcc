"""Builds the sinks that the settings name; the caller's stack closes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
from celery import Celery

from config.settings import Settings
from worker.adapters import clock
from worker.adapters.shop_systems.commerce_layer import CommerceLayerSink
from worker.adapters.shop_systems.payway import PaywaySink
from worker.adapters.shop_systems.tracked_payments import TrackedPayments
from worker.adapters.sinks.celery_task import CeleryTaskSink
from worker.adapters.sinks.webhook import WebhookEndpoint, WebhookSink
from worker.bootstrap.shop_systems import commerce_layer, payway
from worker.domain.deliveries import COMMERCE_LAYER, PAYWAY
from worker.services.klarna import Klarna
from worker.services.sinks import Sink


def open_sinks(
    stack: AsyncExitStack,
    settings: Settings,
    app: Celery,
    *,
    tracked_payments: TrackedPayments,
    klarna: Klarna,
) -> list[Sink]:
    """Build the sinks of EVENT_SINKS except the stream, which beat has, too.

    `tracked_payments` and `klarna` are for those that place orders.
    """
    sinks: list[Sink] = []
    if "celery" in settings.event_sinks:
        shop_tasks = _shop_tasks(settings, app)
        stack.callback(shop_tasks.close)
        sinks.append(shop_tasks)
    if "webhook" in settings.event_sinks:
        sinks.extend(_webhooks(stack, settings))
    if COMMERCE_LAYER in settings.event_sinks:
        sinks.append(CommerceLayerSink(commerce_layer(stack, settings), tracked_payments))
    if PAYWAY in settings.event_sinks:
        sinks.append(PaywaySink(payway(stack, settings), tracked_payments, klarna))
    return sinks


def _shop_tasks(settings: Settings, app: Celery) -> CeleryTaskSink:
    return CeleryTaskSink(
        settings.effective_broker_url,
        task=settings.celery_event_task,
        queue=settings.celery_event_queue,
        transport_options=dict(app.conf.broker_transport_options),
        pool_limit=app.conf.broker_pool_limit,
    )


def _webhooks(stack: AsyncExitStack, settings: Settings) -> Iterator[WebhookSink]:
    context = httpx.create_ssl_context()
    for name, endpoint in settings.webhooks.items():
        sink = WebhookSink(
            WebhookEndpoint(
                sink=name,
                url=endpoint.url.get_secret_value(),
                secrets=tuple(secret.get_secret_value() for secret in endpoint.secrets),
            ),
            context=context,
            allow_private=settings.webhook_allow_private,
            now=clock.now,
        )
        stack.push_async_callback(sink.aclose)
        yield sink
