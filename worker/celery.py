"""The Celery app. Its parts are in `worker.celery_app`, its tasks in `worker.tasks`."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from celery import Celery, signals
from kombu.transport import TRANSPORT_ALIASES

from config import logconfig
from config.env_file import load_env_files
from config.secret_files import fill_in_flower_secrets
from worker.celery_app.compression import bound_decoders
from worker.celery_app.flower import refuse_open_flower, show_session_ids

# Before Celery and Flower read the environment.
load_env_files()
_FLOWER_FAULTS = fill_in_flower_secrets(os.environ)

# Not `broker_transport`: with it kombu no longer sees by the URL that `rediss` is TLS.
TRANSPORT_ALIASES |= dict.fromkeys(
    ("redis", "rediss"), "worker.celery_app.redis_transport:Transport"
)

bound_decoders()

_REDACTED_TASK = "worker.celery_app.redaction:RedactedTask"
app = Celery("worker", include=["worker.tasks"], task_cls=_REDACTED_TASK)
app.config_from_object("config.celeryconfig")
# By name: beat and the commands need nothing of what they import.
_STEPS = "worker.celery_app.bootsteps"
app.steps["worker"] |= {f"{_STEPS}:RuntimeStep", f"{_STEPS}:LivenessStep"}
app.steps["consumer"].add(f"{_STEPS}:EventFlushStep")

# Sent when the command has read its options and is about to import the tasks.
signals.import_modules.connect(
    partial(refuse_open_flower, faults=_FLOWER_FAULTS), weak=False, dispatch_uid="flower"
)
signals.import_modules.connect(show_session_ids)


@signals.setup_logging.connect
def _configure_logging(loglevel: int | str | None = None, **_: object) -> None:
    logconfig.configure(loglevel)


@app.on_after_finalize.connect
def _unregister_tasks_of_celery(sender: Any, **_: object) -> None:  # noqa: ANN401 - Celery is untyped
    # `celery.starmap` and others would run ours, and acknowledge before anything is stored.
    for name in [name for name in sender.tasks if name.startswith("celery.")]:
        sender.tasks.unregister(name)
