"""The one event loop of a process, with its services; task threads wait for it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import TYPE_CHECKING, Generic, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from config.settings import InvalidSettingsError, refuse

if TYPE_CHECKING:
    from worker.bootstrap.worker import WorkerServices

_OBJECTS_BEFORE_COLLECTION = 10_000

Result = TypeVar("Result")
Services = TypeVar("Services")


class Runtime(Generic[Services]):
    """Started and closed with a worker or beat process; nothing is built at import."""

    def __init__(self) -> None:
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal | None = None
        self._services: Services | None = None
        # Reentrant: a second signal may interrupt a close under way in the same thread.
        self._closing = threading.RLock()

    @property
    def services(self) -> Services:
        """The services; only after `start`."""
        if self._services is None:
            raise RuntimeError("the runtime is not started: tasks run in a Celery worker only")
        return self._services

    def start(self, opening: AbstractAsyncContextManager[Services]) -> None:
        """Start the loop and open the services in it; wrong settings end the process."""
        try:
            with ExitStack() as stack:
                self._portal = stack.enter_context(start_blocking_portal(name="payment-sessions"))
                self._services = stack.enter_context(
                    self._portal.wrap_async_context_manager(opening)
                )
                self._stack = stack.pop_all()
        except InvalidSettingsError as error:
            refuse(error)
        # Objects made so far stay: each collection that looks through them would stop the loop for
        # 0.1 s. Most later objects are freed by their reference count before the threshold.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)

    @property
    def is_started(self) -> bool:
        """Whether `services` may be used."""
        return self._services is not None

    def call(self, function: Callable[..., Awaitable[Result]], *arguments: object) -> Result:
        """Run `function` in the loop and wait for its result."""
        if self._portal is None:
            raise RuntimeError("the runtime is not started: tasks run in a Celery worker only")
        return self._portal.call(function, *arguments)

    def close(self) -> None:
        """Close everything. May be called more than once, and from any thread."""
        with self._closing:
            stack, self._stack = self._stack, None
            if stack is None:
                return
            stack.close()


# The worker's, which tasks use. Beat's scheduler has its own.
worker_runtime: Runtime[WorkerServices] = Runtime()
