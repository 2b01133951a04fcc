"""Every metric there is, for Prometheus: names, units, labels. What moves them is not said here."""

from __future__ import annotations

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
# Of a policy whose longest interval is 40 minutes.
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


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, that nobody asks for
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "The release that runs", registry=self.registry).info(
            {"version": version("klarna-session-worker")}
        )
        self._of_tracking_and_polling()
        self._of_delivering()
        self._of_beat()
        self._of_accounts()

    def _of_tracking_and_polling(self) -> None:
        self.tracked = self._counter("tracked", "Shops' messages taken in", "effect")
        self.polls = self._counter(
            "polls", "Polls recorded, by finding or error", "account", "result"
        )
        self.lag = self._histogram(
            "poll_lag_seconds", "From due to the request being sent", _LAG, "account"
        )
        self.requests = self._histogram(
            *("klarna_request_duration_seconds", "Requests to Klarna, by what came of them"),
            _REQUEST,
            *("account", "outcome"),
        )
        self.changes = self._counter("status_changes", "Changes recorded", "account", "status")
        self.delay = self._histogram(
            "detection_delay_seconds", "From a change at Klarna to its being seen", _DELAY, "status"
        )
        self.finished = self._counter("finished", "Sessions at their end", "account", "outcome")
        self.anomalies = self._counter("anomalies", "Ends that are worth a look", "kind")
        self.leases_lost = self._counter("leases_lost", "Leases that another had by then", "stage")
        self.loop = self._histogram(
            "event_loop_lag_seconds", "How late the process' event loop wakes", _LOOP
        )[()]

    def _of_delivering(self) -> None:
        self.deliveries = self._counter("deliveries", "Tries to deliver", "sink", "result")
        self.delivery_age = self._histogram(
            "delivery_delay_seconds", "From an event being due to its delivery", _LAG, "sink"
        )
        self.unreadable = self._counter(
            "token_decrypt_failures", "Tries to deliver a token that no key decrypts"
        )[()]
        self.erased = self._counter("tokens_erased", "Tokens spent or over", "delivered")
        self.outbox = self._gauge("outbox_waiting", "Deliveries that wait", "sink")
        self.outbox_age = self._gauge(
            "outbox_oldest_age_seconds", "How long the oldest is being tried", "sink"
        )
        self.dead = self._gauge(
            "outbox_died_last_day", "Deliveries given up in the last day", "sink"
        )
        self.disabled = self._gauge("sink_disabled", "1: the endpoint said it is gone", "sink")
        self.untold = self._gauge(
            "untold_payments", "Payments that a sink has not been told of for 10 s"
        )[()]
        self.unconfirmed = self._gauge(
            *("unconfirmed_authorizations", "Authorized without an order, by the time left"),
            "minutes_left",
        )
        self.lapsed = self._gauge(
            "lapsed_authorizations_last_day",
            "Authorizations that ran out in the last day without an order",
        )[()]

    def _of_beat(self) -> None:
        self.ticks = self._counter("beat_ticks", "Ticks of beat, ok or failed", "result")
        self.ticked_at = self._gauge(
            "beat_last_tick_timestamp_seconds", "When beat's last good tick ended"
        )[()]
        self.looked_at = self._gauge(
            "backlog_timestamp_seconds", "When beat last read what the database holds"
        )[()]
        self.due = self._gauge("due", "Sessions that are due", "account")
        self.oldest_due = self._gauge(
            "oldest_due_age_seconds", "How long the oldest due session has been", "account"
        )
        self.in_flight = self._gauge("due_in_flight", "Due sessions under a lease", "account")
        self.queue = self._gauge("queue_waiting", "Messages in the worker's queues", "queue")

    def _of_accounts(self) -> None:
        self.budget = self._gauge(
            "account_budget_reads_per_second", "Reads a second it may have now", "account"
        )
        self.share = self._gauge(
            "account_budget_ratio", "The share of its usual budget that is, 0 to 1", "account"
        )
        self.stretch = self._gauge(
            "account_stretch_ratio", "How many times as long its intervals are", "account"
        )
        self.paused = self._gauge("account_paused", "1: not asked at all just now", "account")
        self.breaker = self._gauge(
            "account_breaker", "1 for the state it is in", *("account", "state")
        )

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
        if not metric._labelnames:  # noqa: SLF001 - it has no other way to be asked
            children[()] = metric
        return children
