"""Task messages to the workers, over the app's own broker connections."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from celery import Celery
from kombu.exceptions import BatchPublishError, OperationalError

from worker.services.errors import UnavailableError
from worker.services.heartbeat import QueueLook
from worker.services.sessions import PollTask

POLL_TASK = "payment_sessions.poll"
RELAY_TASK = "payment_sessions.relay"
RETRY_REFUSED_TASK = "payment_sessions.retry_refused"
TRACKS_QUEUE = "payment-sessions"
POLLS_QUEUE = "payment-sessions-polls"
EVENTS_QUEUE = "payment-sessions-events"
# As metrics and logs call them.
QUEUE_LABELS = {TRACKS_QUEUE: "tracks", POLLS_QUEUE: "polls", EVENTS_QUEUE: "events"}

# kombu blocks: it publishes in a thread beside the event loop, and this is how long we wait.
PUBLISH_TIMEOUT_SECONDS = 8.0
# How long that thread waits for RabbitMQ's confirmation; Redis gives none.
CONFIRM_TIMEOUT_SECONDS = 5.0

Result = TypeVar("Result")


class CeleryPublisher:
    """Implements the port `Publisher`."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        broker = app.connection_for_write()
        self._errors = (
            *broker.recoverable_connection_errors,
            *broker.recoverable_channel_errors,
            OperationalError,
            # What kombu makes of any error while a batch is written, a broken connection too.
            BatchPublishError,
            OSError,
        )

    async def send_polls(self, tasks: Sequence[PollTask]) -> None:
        """Send one poll task per entry, in one batch."""
        messages = [(list(task.session_ids), str(task.lease_id)) for task in tasks]
        await self._in_thread(lambda: self._send(POLL_TASK, POLLS_QUEUE, messages))

    async def send_relay(self, session_ids: Sequence[str]) -> None:
        """Send one relay task for the events of these payment sessions."""
        message = (list(session_ids),)
        await self._in_thread(lambda: self._send(RELAY_TASK, EVENTS_QUEUE, [message]))

    async def send_refused(self, refused_ids: Sequence[int]) -> None:
        """Send one task that retries these refused messages."""
        message = (list(refused_ids),)
        await self._in_thread(lambda: self._send(RETRY_REFUSED_TASK, EVENTS_QUEUE, [message]))

    async def heads(self) -> list[QueueLook]:
        """Return what waits in each queue, and a hash of its next message."""
        return await self._in_thread(self._read_heads)

    async def waiting(self) -> dict[str, int]:
        """Return how many messages wait in the queues `tracks`, `polls` and `events`."""
        return await self._in_thread(self._count_waiting)

    def _send(self, name: str, queue: str, messages: Sequence[tuple[Any, ...]]) -> None:
        with self._app.producer_pool.acquire(block=True) as producer, producer.batch():
            for arguments in messages:
                # No retry of kombu's: a batch cannot change its connection half-way.
                self._app.send_task(
                    name,
                    args=arguments,
                    queue=queue,
                    producer=producer,
                    retry=False,
                    confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
                )

    def _count_waiting(self) -> dict[str, int]:
        with self._app.pool.acquire(block=True) as connection:
            channel = connection.default_channel
            return {label: _depth(channel, queue) for queue, label in QUEUE_LABELS.items()}

    def _read_heads(self) -> list[QueueLook]:
        with self._app.pool.acquire(block=True) as connection:
            channel = connection.default_channel
            return [
                QueueLook(
                    queue=queue,
                    waiting=_depth(channel, queue),
                    next_message_hash=_next_message_hash(channel, queue),
                )
                for queue in QUEUE_LABELS
            ]

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        try:
            with anyio.fail_after(PUBLISH_TIMEOUT_SECONDS):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except TimeoutError:
            raise UnavailableError("broker: no answer in time") from None
        except self._errors as error:
            raise UnavailableError(f"broker: {type(error).__name__}") from None


def _depth(channel: Any, queue: str) -> int:  # noqa: ANN401 - kombu is untyped
    # Declared as Celery declares it, so that it may not exist yet.
    declared = channel.queue_declare(queue, durable=True, auto_delete=False, exclusive=False)
    return int(declared.message_count)


def _next_message_hash(channel: Any, queue: str) -> bytes | None:  # noqa: ANN401 - kombu is untyped
    """Return a hash of the next message in Redis; RabbitMQ shows none without delivering it."""
    if not hasattr(channel, "priority_steps"):
        return None
    for step in channel.priority_steps:
        name = f"{queue}{channel.sep}{step}" if step else queue
        if (message := channel.client.lindex(name, -1)) is not None:
            return hashlib.sha256(message).digest()
    return None
