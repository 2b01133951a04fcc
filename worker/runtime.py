"""This process's one event loop with the services in it, for threads that only wait."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from celery import Celery

from config.settings import InvalidSettingsError, Settings, refuse
from worker.bootstrap import Services, open_services

Result = TypeVar("Result")


class Runtime:
    """Started with a worker or beat process, closed with it; nothing is built at import."""

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

    def start(self, settings: Settings, app: Celery, *, metrics_port: int | None = None) -> None:
        """Start the loop and build the services in it; wrong settings end the process.

        Metrics are served where `metrics_port` names a port.
        """
        try:
            with ExitStack() as stack:
                self._portal = stack.enter_context(start_blocking_portal(name="payment-sessions"))
                self._services = stack.enter_context(
                    self._portal.wrap_async_context_manager(
                        open_services(settings, app, metrics_port=metrics_port)
                    )
                )
                self._stack = stack.pop_all()
        except InvalidSettingsError as error:
            refuse(error)

    def call(self, function: Callable[..., Awaitable[Result]], *arguments: object) -> Result:
        """Run `function` in the loop and wait for what it answers."""
        if self._portal is None:
            raise RuntimeError("the runtime is not started: tasks run in a Celery worker only")
        return self._portal.call(function, *arguments)

    def stop(self) -> None:
        """Take on nothing new; safe in a signal handler."""
        if self._services is not None:
            self._services.poll.stop()
            self._services.track.stop()
            self._services.confirmation.stop()

    def close(self) -> None:
        """Give leases back and close everything; however often and wherever it is called from."""
        with self._closing:
            stack, self._stack = self._stack, None
            if stack is None:
                return
            try:
                self.call(self.services.dispatch.close)
                self.call(self.services.poll.close)
            finally:
                stack.close()
