"""Every metric for Prometheus: names, units, labels. `prometheus_meter` sets them."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.process_collector import ProcessCollector

PREFIX = "payment_sessions"
_LAG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600, 3600)
# The policy's longest interval is 40 minutes.
_DELAY = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 2400)
_REQUEST = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10)
_LOOP = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Children(dict[tuple[str, ...], Any]):
    """The children of one metric by their label values, each resolved once."""

    def __init__(self, metric: Counter | Gauge | Histogram) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> Any:  # noqa: ANN401 - a child of the metric
        child = self[labels] = self._metric.labels(*map(str, labels))
        return child

    def set_all(self, number: float) -> None:
        """Set every child of a gauge."""
        for child in self.values():
            child.set(number)


class Metrics:
    """The metrics of every process, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody uses
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "Release of the process", registry=self.registry).info(
            {"version": version("klarna-session-worker")}
        )
        self.loop = self._histogram(
            "event_loop_lag_seconds", "Delay of the process' event loop", _LOOP
        )[()]

    def _counter(self, name: str, says: str, *labels: str) -> Children:
        return self._made(Counter(f"{PREFIX}_{name}", says, labels, registry=self.registry))

    def _gauge(self, name: str, says: str, *labels: str) -> Children:
        return self._made(Gauge(f"{PREFIX}_{name}", says, labels, registry=self.registry))

    def _histogram(
        self, name: str, says: str, buckets: tuple[float, ...], *labels: str
    ) -> Children:
        return self._made(
            Histogram(f"{PREFIX}_{name}", says, labels, registry=self.registry, buckets=buckets)
        )

    def _made(self, metric: Counter | Gauge | Histogram) -> Children:
        children = Children(metric)
        if not metric._labelnames:  # noqa: SLF001 - no public way
            children[()] = metric
        return children


class WorkerMetrics(Metrics):
    """The metrics of a worker."""

    def __init__(self) -> None:
        super().__init__()
        self._of_polling()
        self._of_delivering()

    def _of_polling(self) -> None:
        self.tracked = self._counter("tracked", "Track messages stored", "effect")
        self.polls = self._counter(
            "polls", "Polls recorded, by finding or error", "account", "result"
        )
        self.lag = self._histogram(
            "poll_lag_seconds", "Time from a session being due to its request", _LAG, "account"
        )
        self.requests = self._histogram(
            *("klarna_request_duration_seconds", "Requests to Klarna, by outcome"),
            _REQUEST,
            *("account", "outcome"),
        )
        self.changes = self._counter(
            "status_changes", "Status transitions recorded", "account", "status"
        )
        self.delay = self._histogram(
            "detection_delay_seconds",
            "Time from a change at Klarna to its detection",
            _DELAY,
            "status",
        )
        self.finished = self._counter("finished", "Sessions finished", "account", "outcome")
        self.anomalies = self._counter(
            "anomalies", "Sessions that finished in an unusual way", "kind"
        )
        self.leases_lost = self._counter(
            "leases_lost", "Leases that another worker held by then", "stage"
        )

    def _of_delivering(self) -> None:
        self.deliveries = self._counter("deliveries", "Delivery attempts", "sink", "result")
        self.delivery_age = self._histogram(
            "delivery_delay_seconds", "Time from an event being due to its delivery", _LAG, "sink"
        )
        self.unreadable = self._counter(
            "token_decrypt_failures", "Delivery attempts whose token no key decrypts"
        )[()]
        self.erased = self._counter("tokens_erased", "Authorization tokens deleted", "delivered")


class BeatMetrics(Metrics):
    """The metrics of beat; a gauge whose value is unknown is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self._backlog_gauges: list[Children] = []
        self._of_ticks()
        self._of_delivering()
        self._of_accounts()
        self.forget()

    def forget(self) -> None:
        """Set every gauge of the backlog to NaN."""
        for gauge in self._backlog_gauges:
            gauge.set_all(math.nan)

    def _of_ticks(self) -> None:
        self.ticks = self._counter("beat_ticks", "Ticks of beat, ok or failed", "result")
        self.ticked_at = self._gauge(
            "beat_last_tick_timestamp_seconds", "When beat's last successful tick ended"
        )[()]
        self.looked_at = self._gauge(
            "backlog_timestamp_seconds", "When beat last read the backlog from the database"
        )[()]
        self.due = self._seen("due", "Sessions that are due", "account")
        self.oldest_due = self._seen(
            "oldest_due_age_seconds", "How long the oldest due session has been due", "account"
        )
        self.in_flight = self._seen("due_in_flight", "Due sessions under a lease", "account")
        self.queue = self._gauge("queue_waiting", "Messages in the worker's queues", "queue")

    def _of_delivering(self) -> None:
        self.outbox = self._seen("outbox_waiting", "Pending deliveries", "sink")
        self.outbox_age = self._seen(
            "outbox_oldest_age_seconds", "How long the oldest delivery has been pending", "sink"
        )
        self.dead = self._seen(
            "outbox_dead_lettered_last_day", "Deliveries given up in the last 24 h", "sink"
        )
        self.disabled = self._seen("sink_disabled", "1: the endpoint answered 410 Gone", "sink")
        self.undelivered = self._seen(
            "undelivered_payments", "Payments whose event a sink has lacked for 10 s"
        )[()]
        self.unconfirmed = self._seen(
            *("unconfirmed_authorizations", "Authorized without an order, by the time left"),
            "minutes_left",
        )
        self.lapsed = self._seen(
            "lapsed_authorizations_last_day",
            "Authorizations that lapsed in the last 24 h without an order",
        )[()]

    def _of_accounts(self) -> None:
        self.budget = self._seen(
            "account_budget_reads_per_second", "Reads a second the account may use now", "account"
        )
        self.share = self._seen(
            "account_budget_ratio", "Current share of its usual budget, 0 to 1", "account"
        )
        self.interval_multiplier = self._seen(
            "account_interval_multiplier", "Factor of its poll intervals", "account"
        )
        self.paused = self._seen("account_paused", "1: no requests are sent for it now", "account")
        self.breaker = self._seen(
            "account_breaker", "1 for its current state", *("account", "state")
        )

    def _seen(self, name: str, says: str, *labels: str) -> Children:
        gauge = self._gauge(name, says, *labels)
        self._backlog_gauges.append(gauge)
        return gauge
