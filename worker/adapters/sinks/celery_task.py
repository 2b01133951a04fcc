"""Delivers events as Celery tasks to the shop's own workers."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from celery import Celery
from kombu.exceptions import OperationalError

from worker.domain.deliveries import INTERNAL
from worker.services.errors import DeliveryError

# For RabbitMQ, which confirms a message. Redis has it once it is written.
CONFIRM_TIMEOUT_SECONDS = 5.0


class CeleryTaskSink:
    """Implements the port `Sink`; the shop's task gets the CloudEvent as its one argument.

    It publishes through a second app. Publishing declares the queue in the app, and our workers
    consume from all queues of their app.
    """

    name = "celery"
    schedule = INTERNAL
    in_flight = None

    def __init__(
        self,
        broker_url: str,
        *,
        task: str,
        queue: str,
        transport_options: dict[str, Any],
        pool_limit: int,
    ) -> None:
        self._task = task
        self._queue = queue
        self._app = Celery("event-sink", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            broker_transport_options=transport_options,
            # kombu has one limit for all apps of a process: that of the last app.
            broker_pool_limit=pool_limit,
        )

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Send the task; Flower and logs show only the event's id of its argument."""
        try:
            await anyio.to_thread.run_sync(self._send, envelope, abandon_on_cancel=True)
        except (OperationalError, OSError) as error:
            raise DeliveryError(f"broker: {type(error).__name__}") from None

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()

    def _send(self, envelope: dict[str, Any]) -> None:
        # An error in this block closes the connection. Otherwise a late confirmation could be taken
        # for that of the next event.
        with self._app.producer_pool.acquire(block=True) as producer:
            self._app.send_task(
                self._task,
                args=(envelope,),
                queue=self._queue,
                producer=producer,
                retry=False,
                confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
                argsrepr=f"({envelope['id']!r},)",
                kwargsrepr="{}",
            )
