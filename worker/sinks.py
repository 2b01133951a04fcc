"""Builds the sinks that the settings name, for bootstrap; closing them is left to its stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import httpx
from celery import Celery
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from config.settings import Settings
from worker.adapters import clock
from worker.adapters.sinks.celery_task import CeleryTaskSink
from worker.adapters.sinks.commerce_layer import CommerceLayerSink
from worker.adapters.sinks.order_placed import PaymentNotes
from worker.adapters.sinks.payway import PaywaySink
from worker.adapters.sinks.redis_stream import RedisStreamSink
from worker.adapters.sinks.webhook import WebhookEndpoint, WebhookSink
from worker.domain.deliveries import COMMERCE_LAYER, PAYWAY, Route
from worker.services.ports import Klarna, LossySink, Sink
from worker.shop_systems import commerce_layer, payway


@dataclass(frozen=True, slots=True)
class Sinks:
    """Every configured sink; `lossy` names those whose server may lose what it was given."""

    every: Sequence[Sink]
    lossy: Sequence[LossySink]

    @property
    def routes(self) -> list[Route]:
        """Which events go where."""
        return [Route(sink=sink.name, types=sink.types) for sink in self.every]


def open_sinks(
    stack: AsyncExitStack, settings: Settings, app: Celery, *, notes: PaymentNotes, klarna: Klarna
) -> Sinks:
    """Build the sinks of EVENT_SINKS; `notes` and `klarna` are for those that place orders."""
    every: list[Sink] = []
    lossy: list[LossySink] = []
    if "redis_stream" in settings.event_sinks:
        stream = _stream(stack, settings)
        every.append(stream)
        lossy.append(stream)
    if "celery" in settings.event_sinks:
        shop_tasks = _shop_tasks(settings, app)
        stack.callback(shop_tasks.close)
        every.append(shop_tasks)
    if "webhook" in settings.event_sinks:
        every.extend(_webhooks(stack, settings))
    if COMMERCE_LAYER in settings.event_sinks:
        every.append(CommerceLayerSink(commerce_layer(stack, settings), notes))
    if PAYWAY in settings.event_sinks:
        every.append(PaywaySink(payway(stack, settings), notes, klarna))
    return Sinks(every=every, lossy=lossy)


def _stream(stack: AsyncExitStack, settings: Settings) -> RedisStreamSink:
    # Deliveries beyond the pool's size wait for their turn instead of failing.
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=20,
        timeout=10,
        socket_timeout=5,
        socket_connect_timeout=5,
        health_check_interval=10,
        # One more try, at once: the pool's connections do not outlive a restart of the server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )
    redis = Redis.from_pool(pool)
    stack.push_async_callback(redis.aclose)
    return RedisStreamSink(
        redis,
        stream=settings.event_stream,
        retention=timedelta(hours=settings.event_stream_retention_hours),
        monotonic=clock.monotonic,
    )


def _shop_tasks(settings: Settings, app: Celery) -> CeleryTaskSink:
    return CeleryTaskSink(
        settings.effective_broker_url,
        task=settings.celery_event_task,
        queue=settings.celery_event_queue,
        transport_options=dict(app.conf.broker_transport_options),
    )


def _webhooks(stack: AsyncExitStack, settings: Settings) -> Iterator[WebhookSink]:
    context = httpx.create_ssl_context()
    for name, endpoint in settings.webhooks.items():
        sink = WebhookSink(
            WebhookEndpoint(
                sink=name,
                url=endpoint.url.get_secret_value(),
                secrets=tuple(secret.get_secret_value() for secret in endpoint.secrets),
                types=None if endpoint.events is None else frozenset(endpoint.events),
            ),
            context=context,
            allow_private=settings.webhook_allow_private,
            now=clock.now,
        )
        stack.push_async_callback(sink.aclose)
        yield sink
