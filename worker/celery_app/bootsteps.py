"""What starts and stops with a Celery worker: the services, the liveness file, task events."""

from __future__ import annotations

from typing import Any, ClassVar

from celery import bootsteps, signals

from config.settings import Settings, load
from worker.bootstrap.worker import open_worker
from worker.celery_app import intake
from worker.celery_app.liveness_file import LivenessFile, ReceivedTasks
from worker.celery_app.redis_transport import message_unreadable
from worker.celery_app.runtime import worker_runtime

# Celery publishes task events after every turn of its loop. Under load that is one message for two
# events; once in this time it is one for hundreds.
EVENT_FLUSH_SECONDS = 0.1
# With more than these the thread that adds one publishes them. That must be rare: with RabbitMQ
# the thread would read from a connection that the loop reads as well.
MAX_BUFFERED_EVENTS = 1000


class RuntimeStep(bootsteps.StartStopStep):
    """Opens the services before the first task; closes them after the last, however it ends."""

    requires: ClassVar[set[str]] = {"celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        """Start the event loop and its services."""
        opening = open_worker(load(Settings), worker.app, take_in_again=intake.take_in_again)
        worker_runtime.start(opening)

    def stop(self, worker: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        """Let running tasks end, then close. Warm and cold shutdown both call this."""
        _stop_polling()
        worker.pool.stop()
        worker_runtime.close()

    terminate = stop


@signals.worker_shutting_down.connect
def _stop_polling(**_: object) -> None:
    if worker_runtime.is_started:
        worker_runtime.services.stop()


@message_unreadable.connect
def _tell_of_unreadable(queue: str, reason: str, **_: object) -> None:
    if worker_runtime.is_started:
        worker_runtime.services.refused.drop_unreadable(f"{queue}: {reason}")


class LivenessStep(bootsteps.StartStopStep):
    """Notes progress while the worker receives tasks, or none waits: heartbeat, PROGRESS_FILE."""

    requires: ClassVar[set[Any]] = {RuntimeStep}

    def __init__(self, worker: Any, **options: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        super().__init__(worker, **options)
        self._received = ReceivedTasks()
        self._file: LivenessFile | None = None

    def start(self, worker: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        """Start to check."""
        self._received.start()
        self._file = LivenessFile(load(Settings).progress_file, worker.pool, self._is_live)
        self._file.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002, ANN401 - bootsteps' signature
        """Stop to check."""
        self._received.stop()
        if self._file is not None:
            self._file.stop()

    terminate = stop

    def _is_live(self) -> bool:
        services = worker_runtime.services
        is_live = worker_runtime.call(services.liveness.refresh, self._received.count)
        if is_live:
            services.heartbeat.progressed()
        return is_live


class EventFlushStep(bootsteps.StartStopStep):
    """Publishes task events at an interval instead of after every turn of Celery's loop."""

    requires: ClassVar[set[str]] = {"celery.worker.consumer.events:Events"}

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:  # noqa: ANN401 - Celery's
        """Start the interval. Celery calls this, and cancels the timer, for each connection."""
        if (dispatcher := consumer.event_dispatcher) is not None:
            dispatcher.buffer_limit = MAX_BUFFERED_EVENTS
            dispatcher.on_send_buffered = None
            hub.call_repeatedly(EVENT_FLUSH_SECONDS, dispatcher.flush)

    def shutdown(self, consumer: Any) -> None:  # noqa: ANN401 - Celery's
        """Publish what is left, before Celery's own step closes the connection."""
        if (dispatcher := consumer.event_dispatcher) is not None:
            dispatcher.flush()
