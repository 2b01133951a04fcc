"""Builds metrics and traces, where the settings enable them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyio import to_thread

from config.settings import InvalidSettingsError, Settings
from worker.adapters import clock
from worker.services.event_loop_lag import measure_event_loop_lag
from worker.services.meter import NULL_METER, Meter
from worker.services.tracing import NULL_TRACER, Telemetry, Tracer

if TYPE_CHECKING:
    from worker.adapters.telemetry.prometheus_meter import PrometheusMeter


def open_telemetry(stack: AsyncExitStack, settings: Settings) -> Telemetry:
    """Build a worker's metrics and traces; the stack closes them.

    Raises:
        InvalidSettingsError: metrics cannot be served there, or traces need an extra.
    """
    meter: Meter = NULL_METER
    if (port := settings.metrics_port) is not None:
        # Imported only if enabled: disabled metrics cost nothing.
        from worker.adapters.telemetry.prometheus_meter import WorkerMeter  # noqa: PLC0415

        made = WorkerMeter(accounts=settings.accounts, sinks=settings.delivery_sinks)
        meter = _served(made, stack, settings, port)
    return Telemetry(meter=meter, tracer=_tracer(stack, settings))


def open_beat_meter(stack: AsyncExitStack, settings: Settings) -> Meter:
    """Build beat's metrics; the stack closes them. Beat has no spans of its own.

    Raises:
        InvalidSettingsError: metrics cannot be served there.
    """
    if (port := settings.metrics_port_of_beat) is None:
        return NULL_METER
    # Imported only if enabled: disabled metrics cost nothing.
    from worker.adapters.telemetry.prometheus_meter import BeatMeter  # noqa: PLC0415

    made = BeatMeter(accounts=settings.accounts, sinks=settings.delivery_sinks)
    return _served(made, stack, settings, port)


def _served(meter: PrometheusMeter, stack: AsyncExitStack, settings: Settings, port: int) -> Meter:
    from worker.adapters.telemetry.metrics_server import serve  # noqa: PLC0415

    try:
        stack.enter_context(serve(meter.registry, host=settings.metrics_host, port=port))
    except OSError as error:
        where = f"{settings.metrics_host}:{port}"
        raise InvalidSettingsError(
            [
                (
                    f"METRICS_PORT: cannot serve metrics at {where} ({error.strerror}): "
                    "each process on a host needs its own, beat's may be BEAT_METRICS_PORT"
                )
            ]
        ) from None
    lag = asyncio.create_task(measure_event_loop_lag(meter, monotonic=clock.monotonic))
    stack.callback(lag.cancel)
    return meter


def _tracer(stack: AsyncExitStack, settings: Settings) -> Tracer:
    if settings.otel_exporter_otlp_endpoint is None:
        return NULL_TRACER
    try:
        # Imported only if enabled: disabled traces cost nothing.
        from worker.adapters.telemetry.otel import OtelTracer  # noqa: PLC0415
    except ModuleNotFoundError:
        raise InvalidSettingsError(
            ["OTEL_EXPORTER_OTLP_ENDPOINT: needs an extra: klarna-session-worker[otel]"]
        ) from None
    tracer = OtelTracer()
    stack.push_async_callback(to_thread.run_sync, tracer.close)
    return tracer
