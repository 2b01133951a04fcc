"""Every metric there is, for Prometheus: names, units, labels. What moves them is not said here."""

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

    def set_all(self, number: float) -> None:
        """Set every child of a gauge."""
        for child in self.values():
            child.set(number)


class Metrics:
    """What every process tells, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, that nobody asks for
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "The running release", registry=self.registry).info(
            {"version": version("klarna-session-worker")}
        )
        self.loop = self._histogram(
            "event_loop_lag_seconds", "How late the event loop of the process wakes", _LOOP
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
        if not metric._labelnames:  # noqa: SLF001 - it has no other way to be asked
            children[()] = metric
        return children


class WorkerMetrics(Metrics):
    """What a worker did."""

    def __init__(self) -> None:
        super().__init__()
        self._of_messages()
        self._of_polling()
        self._of_delivering()

    def _of_messages(self) -> None:
        self.refused = self._counter(
            "messages_refused", "Messages not taken in, by field", "task", "field", "kept"
        )
        self.dropped = self._counter(
            "messages_dropped", "Messages that cannot be read as one, dropped"
        )[()]
        self.left_out = self._counter(
            "arguments_left_out", "Wrong optional arguments left out", "field"
        )

    def _of_polling(self) -> None:
        self.tracked = self._counter("tracked", "Track messages processed", "effect")
        self.polls = self._counter(
            "polls", "Polls recorded, by result or error", "account", "result"
        )
        self.lag = self._histogram(
            "poll_lag_seconds", "From a session being due to its request", _LAG, "account"
        )
        self.requests = self._histogram(
            *("klarna_request_duration_seconds", "Requests to Klarna, by outcome"),
            _REQUEST,
            *("account", "outcome"),
        )
        self.changes = self._counter(
            "status_changes", "Status changes recorded", "account", "status"
        )
        self.delay = self._histogram(
            "detection_delay_seconds",
            "From a change at Klarna to its observation",
            _DELAY,
            "status",
        )
        self.finished = self._counter(
            "finished", "Finished sessions, by outcome", "account", "outcome"
        )
        self.anomalies = self._counter("anomalies", "Unusual answers and ends of sessions", "kind")
        self.ignored_fields = self._counter(
            "answer_fields_ignored", "Invalid fields of Klarna's answers, read as absent", "field"
        )
        self.leases_lost = self._counter("leases_lost", "Leases lost to a later claim", "stage")

    def _of_delivering(self) -> None:
        self.deliveries = self._counter("deliveries", "Delivery attempts", "sink", "result")
        self.delivery_age = self._histogram(
            "delivery_delay_seconds", "From an event being due to its delivery", _LAG, "sink"
        )
        self.unreadable = self._counter(
            "token_decrypt_failures", "Delivery attempts whose token no key decrypts"
        )[()]
        self.erased = self._counter(
            "tokens_erased", "Tokens erased after delivery or expiry", "delivered"
        )


class BeatMetrics(Metrics):
    """What beat did, and what it saw; a gauge is not a number (NaN) where it is not known."""

    def __init__(self) -> None:
        super().__init__()
        self._looked_for: list[Children] = []
        self._of_ticks()
        self._of_processes()
        self._of_delivering()
        self._of_accounts()
        self.forget()

    def forget(self) -> None:
        """Of what was seen nothing is known any more."""
        for gauge in self._looked_for:
            gauge.set_all(math.nan)

    def forget_processes(self) -> None:
        """Of processes and queues nothing is known any more."""
        for gauge in (self.processes, self.heartbeat_age, self.queue_unchanged):
            gauge.set_all(math.nan)

    def _of_ticks(self) -> None:
        self.ticks = self._counter("beat_ticks", "Ticks of beat, ok or failed", "result")
        self.ticked_at = self._gauge(
            "beat_last_tick_timestamp_seconds", "When beat's last successful tick ended"
        )[()]
        self.looked_at = self._gauge(
            "backlog_timestamp_seconds", "When beat last read the backlog"
        )[()]
        self.due = self._seen("due", "Sessions that are due", "account")
        self.oldest_due = self._seen(
            "oldest_due_age_seconds", "How long the oldest due session has been due", "account"
        )
        self.in_flight = self._seen("due_in_flight", "Due sessions under a lease", "account")
        self.queue = self._gauge("queue_waiting", "Messages in the worker's queues", "queue")
        self.refused = self._seen(
            "refused_messages",
            "Refused messages that wait for a person, or are retried in vain for 10 minutes",
            "state",
        )

    def _of_processes(self) -> None:
        self.processes = self._seen("processes", "Workers and beats that are running", "role")
        self.heartbeat_age = self._seen(
            "heartbeat_age_seconds", "How long ago a worker or beat was last seen", "role"
        )
        self.queue_unchanged = self._seen(
            "queue_unchanged_seconds", "How long a queue has stood still", "queue"
        )

    def _of_delivering(self) -> None:
        self.outbox = self._seen("outbox_waiting", "Pending deliveries", "sink")
        self.outbox_age = self._seen(
            "outbox_oldest_age_seconds", "Age of the oldest pending delivery", "sink"
        )
        self.dead = self._seen(
            "outbox_dead_lettered_last_day", "Deliveries dead-lettered in the last day", "sink"
        )
        self.disabled = self._seen("sink_disabled", "1: the endpoint returned 410 Gone", "sink")
        self.undelivered = self._seen(
            "undelivered_payments", "Payments whose event a sink lacks after 10 s"
        )[()]
        self.unconfirmed = self._seen(
            *("unconfirmed_authorizations", "Authorizations without an order, by time left"),
            "minutes_left",
        )
        self.lapsed = self._seen(
            "lapsed_authorizations_last_day",
            "Authorizations that lapsed in the last day without an order",
        )[()]

    def _of_accounts(self) -> None:
        self.budget = self._seen(
            "account_budget_reads_per_second", "Reads a second allowed at the moment", "account"
        )
        self.share = self._seen(
            "account_budget_ratio", "The current share of its usual budget, 0 to 1", "account"
        )
        self.interval_multiplier = self._seen(
            "account_interval_multiplier",
            "Factor by which its polling intervals are lengthened",
            "account",
        )
        self.paused = self._seen("account_paused", "1: not read at the moment", "account")
        self.breaker = self._seen(
            "account_breaker",
            "1 for the current state of the circuit breaker",
            *("account", "state"),
        )

    def _seen(self, name: str, says: str, *labels: str) -> Children:
        gauge = self._gauge(name, says, *labels)
        self._looked_for.append(gauge)
        return gauge
