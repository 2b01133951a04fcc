"""Implements the port `Meter` for Prometheus; `metrics` defines them, `metrics_server` serves them.

Label sets are bounded: what is not configured or not documented is `other`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields
from itertools import product
from typing import TypeVar

from worker.adapters.telemetry.metrics import BeatMetrics, Children, Metrics, WorkerMetrics
from worker.domain.account import Breaker
from worker.domain.decision import ANOMALIES, Finding
from worker.domain.refused_messages import MESSAGE, UNFORESEEN
from worker.domain.session import OPTIONAL_FIELDS, STATUSES, Outcome
from worker.domain.tracking import TRACK_ARGUMENTS, TrackEffect
from worker.services.meter import (
    AccountFigures,
    Backlog,
    DeploymentFigures,
    Meter,
    RefusedFigures,
    SinkFigures,
    Waiting,
)

OTHER = "other"
_REFUSED_UNKNOWN = {each.name: math.nan for each in fields(RefusedFigures)}
Figures = TypeVar("Figures", Waiting, SinkFigures)
# The tasks of the contract, and what a refusal names: an argument, or the message itself.
SHOP_TASKS = tuple(
    f"payment_sessions.{name}"
    for name in ("track", "track_created", "track_klarna_payment", "track_payway", "confirm_order")
)
REFUSED_FIELDS = (*TRACK_ARGUMENTS, "response", "order_id", "task", MESSAGE, UNFORESEEN)
_HEALTHY = (Finding.CHANGED, Finding.UNCHANGED, Finding.FINISHED)


class PrometheusMeter(Meter):
    """The meter of every process; `accounts` and `sinks` are the configured ones."""

    def __init__(
        self, metrics: Metrics, *, accounts: Collection[str], sinks: Collection[str]
    ) -> None:
        self.registry = metrics.registry
        self._loop = metrics.loop
        self._accounts = frozenset(accounts)
        self._sinks = frozenset(sinks)

    def loop_lagged(self, seconds: float) -> None:
        """The event loop came so much later than it was asked to."""
        self._loop.observe(seconds)

    def _account(self, name: str) -> str:
        return name if name in self._accounts else OTHER

    def _sink(self, name: str) -> str:
        return name if name in self._sinks else OTHER


class WorkerMeter(PrometheusMeter):
    """The meter of a worker."""

    def __init__(self, *, accounts: Collection[str], sinks: Collection[str]) -> None:
        self._metrics = WorkerMetrics()
        super().__init__(self._metrics, accounts=accounts, sinks=sinks)
        self._start_at_zero()

    def tracked(self, effect: str) -> None:
        """A shop's message was taken in."""
        self._metrics.tracked[effect,].inc()

    def argument_left_out(self, field: str) -> None:
        """Count a wrong optional argument."""
        self._metrics.left_out[field,].inc()

    def message_refused(self, task: str, field: str, *, kept: bool) -> None:
        """Count a message that was not taken in."""
        known_task = task if task in SHOP_TASKS else OTHER
        known_field = field if field in REFUSED_FIELDS else OTHER
        self._metrics.refused[known_task, known_field, "yes" if kept else "no"].inc()

    def message_dropped(self) -> None:
        """Count a message that cannot be read as one."""
        self._metrics.dropped.inc()

    def request_started(self, account: str, *, lag_seconds: float) -> None:
        """A request leaves, so long after it was due."""
        self._metrics.lag[self._account(account),].observe(lag_seconds)

    def request_finished(self, account: str, outcome: str, *, seconds: float) -> None:
        """Klarna answered, or not."""
        self._metrics.requests[self._account(account), outcome].observe(seconds)

    def polled(self, account: str, result: str) -> None:
        """A poll was recorded."""
        self._metrics.polls[self._account(account), result].inc()

    def status_changed(self, account: str, status: str, *, delay_seconds: float | None) -> None:
        """A status change was recorded."""
        known = status if status in STATUSES else OTHER
        self._metrics.changes[self._account(account), known].inc()
        if delay_seconds is not None:
            self._metrics.delay[known,].observe(delay_seconds)

    def finished(self, account: str, outcome: str) -> None:
        """A payment session came to its end."""
        self._metrics.finished[self._account(account), outcome].inc()

    def anomaly(self, kind: str) -> None:
        """Something that is worth somebody's attention was recorded."""
        self._metrics.anomalies[kind,].inc()

    def answer_field_ignored(self, field: str) -> None:
        """Count an invalid optional field of an answer."""
        self._metrics.ignored_fields[field,].inc()

    def leases_lost(self, stage: str, count: int = 1) -> None:
        """Somebody else has the lease."""
        self._metrics.leases_lost[stage,].inc(count)

    def delivered(self, sink: str, *, age_seconds: float) -> None:
        """A sink took an event."""
        self._metrics.deliveries[self._sink(sink), "delivered"].inc()
        self._metrics.delivery_age[self._sink(sink),].observe(age_seconds)

    def not_delivered(self, sink: str, *, dead: bool) -> None:
        """A sink did not take an event."""
        self._metrics.deliveries[self._sink(sink), "dead_lettered" if dead else "failed"].inc()

    def token_unreadable(self) -> None:
        """No key decrypts a stored authorization token."""
        self._metrics.unreadable.inc()

    def tokens_erased(self, *, delivered: int, undelivered: int) -> None:
        """Authorization tokens ran out, or were spent."""
        self._metrics.erased["yes",].inc(delivered)
        self._metrics.erased["no",].inc(undelivered)

    def _start_at_zero(self) -> None:
        """Create every counter: one that appears with its first event hides it from `increase`."""
        starting: tuple[tuple[Children, *tuple[Iterable[str], ...]], ...] = (
            (self._metrics.tracked, TrackEffect),
            (self._metrics.refused, (*SHOP_TASKS, OTHER), (*REFUSED_FIELDS, OTHER), ("yes",)),
            (self._metrics.left_out, ("expires_at", "reference")),
            (self._metrics.lag, self._accounts),
            (self._metrics.polls, self._accounts, (*_HEALTHY, "account_refused", "rate_limited")),
            (self._metrics.requests, self._accounts, ("ok",)),
            (self._metrics.changes, self._accounts, STATUSES),
            (self._metrics.delay, STATUSES),
            (self._metrics.finished, self._accounts, Outcome),
            (self._metrics.anomalies, ANOMALIES),
            (self._metrics.ignored_fields, OPTIONAL_FIELDS),
            (self._metrics.leases_lost, ("load", "record")),
            (self._metrics.deliveries, self._sinks, ("delivered", "failed", "dead_lettered")),
            (self._metrics.delivery_age, self._sinks),
            (self._metrics.erased, ("yes", "no")),
        )
        for children, *labels in starting:
            for values in product(*labels):
                children[values]


class BeatMeter(PrometheusMeter):
    """The meter of beat."""

    def __init__(self, *, accounts: Collection[str], sinks: Collection[str]) -> None:
        self._metrics = BeatMetrics()
        super().__init__(self._metrics, accounts=accounts, sinks=sinks)
        for result in ("ok", "failed"):
            self._metrics.ticks[result,]

    def ticked(self, *, ok: bool) -> None:
        """Beat's tick ended."""
        self._metrics.ticks["ok" if ok else "failed",].inc()
        if ok:
            self._metrics.ticked_at.set_to_current_time()
        else:
            self._metrics.queue.set_all(math.nan)

    def queues(self, waiting: Mapping[str, int]) -> None:
        """So many messages wait in the worker's own queues."""
        for queue, count in waiting.items():
            self._metrics.queue[queue,].set(count)

    def accounts(self, figures: Mapping[str, AccountFigures]) -> None:
        """How each account is doing now."""
        for account, now in figures.items():
            self._metrics.budget[account,].set(now.budget)
            self._metrics.share[account,].set(now.share)
            self._metrics.interval_multiplier[account,].set(now.interval_multiplier)
            self._metrics.paused[account,].set(now.paused)
            for state in Breaker:
                self._metrics.breaker[account, state].set(state == now.breaker)

    def backlog(self, figures: Backlog) -> None:
        """Set the backlog's gauges; what has no backlog is zero."""
        for account, due in _by_label(figures.due, self._accounts, Waiting()).items():
            self._metrics.due[account,].set(due.count)
            self._metrics.oldest_due[account,].set(due.oldest_seconds)
            self._metrics.in_flight[account,].set(due.under_way)
        nothing = SinkFigures(waiting=Waiting())
        for sink, seen in _by_label(figures.sinks, self._sinks, nothing).items():
            self._metrics.outbox[sink,].set(seen.waiting.count)
            self._metrics.outbox_age[sink,].set(seen.waiting.oldest_seconds)
            self._metrics.dead[sink,].set(seen.dead_lettered)
            self._metrics.disabled[sink,].set(seen.disabled)
        for minutes, count in figures.unconfirmed.items():
            self._metrics.unconfirmed[minutes,].set(count)
        self._metrics.lapsed.set(figures.lapsed)
        self._metrics.undelivered.set(figures.undelivered)
        known = asdict(figures.refused) if figures.refused else _REFUSED_UNKNOWN
        for state, number in known.items():
            self._metrics.refused[state,].set(number)
        if figures.deployment:
            self._deployment(figures.deployment)
        else:
            self._metrics.forget_processes()
        self._metrics.looked_at.set_to_current_time()

    def _deployment(self, figures: DeploymentFigures) -> None:
        for role, seen in figures.processes.items():
            self._metrics.processes[role,].set(seen.running)
            self._metrics.heartbeat_age[role,].set(seen.seen_seconds)
        for queue, seconds in figures.unchanged_seconds.items():
            self._metrics.queue_unchanged[queue,].set(seconds)

    def backlog_unknown(self) -> None:
        """Set the backlog's gauges to NaN: the last reading is too old."""
        self._metrics.forget()


def _by_label(
    seen: Mapping[str, Figures], known: Collection[str], nothing: Figures
) -> dict[str, Figures]:
    """Return the figures of each label; those not configured add up as `other`."""
    figures = dict.fromkeys((*known, OTHER), nothing)
    for name, each in seen.items():
        label = name if name in known else OTHER
        figures[label] += each
    return figures
