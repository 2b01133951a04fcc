"""The Celery app, and what starts and ends with its worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from celery import Celery, bootsteps, signals
from celery.worker import state
from kombu.transport import TRANSPORT_ALIASES

from config import logconfig
from config.settings import Settings, load
from worker.celery_app.flower import refuse_open_flower, show_session_ids
from worker.celery_app.liveness_file import LivenessFile
from worker.celery_app.runtime import Runtime

if TYPE_CHECKING:
    from worker.bootstrap.worker import WorkerServices

# Not `broker_transport`: kombu would no longer see by the URL that `rediss` is TLS.
TRANSPORT_ALIASES |= dict.fromkeys(
    ("redis", "rediss"), "worker.celery_app.redis_transport:Transport"
)

app = Celery("worker", include=["worker.tasks"])
app.config_from_object("config.celeryconfig")

runtime: Runtime[WorkerServices] = Runtime()

# Sent when the command has read its options and is about to import the tasks.
signals.import_modules.connect(refuse_open_flower)
signals.import_modules.connect(show_session_ids)


@signals.setup_logging.connect
def _configure_logging(loglevel: int | str | None = None, **_: object) -> None:
    logconfig.configure(loglevel)


@signals.worker_shutting_down.connect
def _stop_polling(**_: object) -> None:
    if runtime.is_started:
        runtime.services.stop()


class RuntimeStep(bootsteps.StartStopStep):
    """Opens the runtime before the first task; closes it after the last, however it ends."""

    requires: ClassVar[set[str]] = {"celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:  # noqa: ARG002, ANN401 - bootsteps' signature
        """Start the event loop and its services."""
        # Not above: beat imports this module, too, and needs little of what that imports.
        from worker.bootstrap.worker import open_worker  # noqa: PLC0415

        runtime.start(open_worker(load(Settings), app))

    def stop(self, worker: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        """Let running tasks end, then close. Warm and cold shutdown come here alike."""
        _stop_polling()
        worker.pool.stop()
        runtime.close()

    terminate = stop


class ProgressStep(bootsteps.StartStopStep):
    """Keeps PROGRESS_FILE young while tasks are taken wherever tasks wait."""

    requires: ClassVar[set[Any]] = {RuntimeStep}

    def __init__(self, worker: Any, **options: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        super().__init__(worker, **options)
        self._watch: LivenessFile | None = None

    def start(self, worker: Any) -> None:  # noqa: ANN401 - bootsteps' signature
        """Begin to look."""
        if (file := load(Settings).progress_file) is not None:
            self._watch = LivenessFile(file, worker.pool, _progressed)
            self._watch.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002, ANN401 - bootsteps' signature
        """Look no more."""
        if self._watch is not None:
            self._watch.stop()

    terminate = stop


def _progressed() -> bool:
    return runtime.call(runtime.services.progress.look, state.all_total_count[0])


app.steps["worker"].add(RuntimeStep)
app.steps["worker"].add(ProgressStep)
