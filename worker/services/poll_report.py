"""Tells what a poll came to: log lines and counts, with the ids that Klarna's support asks for."""

from __future__ import annotations

import structlog

from worker.domain.decision import ANOMALIES, Decision, Finding
from worker.domain.errors import ObservationError
from worker.domain.session import Observation, Transition
from worker.services.account_log import log_account
from worker.services.meter import Meter
from worker.services.ports import Recorded

log = structlog.get_logger(__name__)


def report_poll(
    meter: Meter,
    answer: Observation | ObservationError,
    decision: Decision,
    recorded: Recorded | None,
) -> None:
    """Log and count one poll; `recorded` is None where its lease was lost."""
    ids = {"session_id": decision.session.session_id}
    if answer.correlation_id:
        ids["correlation_id"] = answer.correlation_id
    if recorded is None:
        meter.leases_lost("record")
        log.warning("observation_dropped", reason="lease lost", **ids)
        return
    error = str(answer) if isinstance(answer, ObservationError) else None
    log.debug("payment_session_polled", finding=decision.finding, error=error, **ids)
    if change := decision.transition:
        log.info("status_changed", from_status=change.from_status, to=change.to_status, **ids)
    if decision.session.outcome:
        log.info("payment_session_finished", outcome=decision.session.outcome, **ids)
    if decision.finding in ANOMALIES:
        _log_anomaly(decision.finding, ids)
    if recorded.account_noted:
        log_account(decision, error=error)
    _count(meter, answer, decision)


def _log_anomaly(finding: Finding, ids: dict[str, str]) -> None:
    if finding is Finding.COMPLETED_EMPTY:
        log.warning("completed_empty", **ids)
    elif finding is Finding.FINISHED_BY_OLDER_ANSWER:
        log.warning("finished_by_older_answer", **ids)
    else:
        log.warning("session_abandoned", **ids)


def _count(meter: Meter, answer: Observation | ObservationError, decision: Decision) -> None:
    account, finding = decision.session.account, decision.finding
    if isinstance(answer, ObservationError) and finding is Finding.FAILED:
        meter.polled(account, answer.label)
    else:
        meter.polled(account, finding)
    if change := decision.transition:
        meter.changed(account, change.to_status, delay_seconds=_delay(change))
    if decision.session.outcome:
        meter.finished(account, decision.session.outcome)
    if finding in ANOMALIES:
        meter.anomaly(finding)


def _delay(change: Transition) -> float | None:
    """Seconds from the change to its being seen; None for the first, which is no delay of ours.

    Nor is one known where Klarna gave no time for it: it occurred when it was observed.
    """
    if change.from_status is None or change.occurred_at == change.observed_at:
        return None
    return (change.observed_at - change.occurred_at).total_seconds()
