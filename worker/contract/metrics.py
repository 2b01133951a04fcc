"""The table of metrics in docs/operations.md, from the metrics that workers and beat expose."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics import MetricWrapperBase

from worker.adapters.telemetry.metrics import BeatMetrics, WorkerMetrics


def exported_metrics() -> Iterator[MetricWrapperBase]:
    """Every metric of a worker and of beat, each once, but those of the client library."""
    seen: set[str] = set()
    for registry in (WorkerMetrics().registry, BeatMetrics().registry):
        for metric in registry._collector_to_names:  # noqa: SLF001 - no public way to list them
            if isinstance(metric, MetricWrapperBase) and metric._name not in seen:  # noqa: SLF001
                seen.add(metric._name)  # noqa: SLF001
                yield metric


def exported_name(metric: MetricWrapperBase) -> str:
    """The name as Prometheus knows it, but for what a histogram adds."""
    suffix = {"counter": "_total", "info": "_info"}.get(str(metric._type), "")  # noqa: SLF001
    return f"{metric._name}{suffix}"  # noqa: SLF001


def metric_table() -> str:
    """Return the metrics as a Markdown table."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from ("", "| metric | type | labels | meaning |", "|---|---|---|---|")
    for metric in exported_metrics():
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001
        kind, meaning = metric._type, metric._documentation  # noqa: SLF001
        yield f"| `{exported_name(metric)}` | {kind} | {labels} | {meaning} |"
