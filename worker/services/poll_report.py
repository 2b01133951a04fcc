"""Logs and counts the result of a poll, with the correlation ids that Klarna's support needs."""

from __future__ import annotations

import structlog

from worker.domain.decision import ANOMALIES, Decision, Finding
from worker.domain.errors import ObservationError
from worker.domain.session import Observation, Transition
from worker.services.meter import Meter
from worker.services.sessions import Recorded

log = structlog.get_logger(__name__)


def report_poll(
    meter: Meter,
    answer: Observation | ObservationError,
    decision: Decision,
    recorded: Recorded | None,
) -> None:
    """Log and count one poll; `recorded` is None if its lease was lost."""
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
    if isinstance(answer, Observation) and answer.ignored_fields:
        _report_ignored(meter, answer.ignored_fields, ids)
    if decision.finding in ANOMALIES:
        _log_anomaly(decision.finding, ids)
    if recorded.account_recorded:
        _log_account(decision, error)
    _count(meter, answer, decision)


def _report_ignored(meter: Meter, fields: tuple[str, ...], ids: dict[str, str]) -> None:
    for field in fields:
        meter.answer_field_ignored(field)
        log.warning("answer_field_ignored", field=field, **ids)


def _log_anomaly(finding: Finding, ids: dict[str, str]) -> None:
    if finding is Finding.COMPLETED_EMPTY:
        log.warning("completed_empty", **ids)
    elif finding is Finding.COMPLETED_WHILE_OPEN:
        log.warning("completed_while_open", **ids)
    elif finding is Finding.FINISHED_BY_OLDER_ANSWER:
        log.warning("finished_by_older_answer", **ids)
    elif finding is Finding.PROOF_KEPT:
        log.warning("proof_kept", **ids)
    else:
        log.warning("session_abandoned", **ids)


def _log_account(decision: Decision, error: str | None) -> None:
    """Log account changes, only where they were written: concurrent polls log them once."""
    before, after = decision.account_before, decision.account
    ids = {"account": decision.session.account}
    if after.refusals > before.refusals:
        log.warning("account_paused", until=str(after.paused_until), error=error, **ids)
    if after.is_broken and not before.is_broken:
        log.warning("breaker_opened", failing_since=str(after.failing_since), error=error, **ids)
    if before.is_broken and not after.is_broken:
        log.warning("breaker_closed", **ids)
    if after.quota_cut_at != before.quota_cut_at:
        log.warning("read_budget_cut", share=round(after.quota_share, 2), error=error, **ids)


def _count(meter: Meter, answer: Observation | ObservationError, decision: Decision) -> None:
    account, finding = decision.session.account, decision.finding
    if isinstance(answer, ObservationError) and finding is Finding.FAILED:
        meter.polled(account, answer.label)
    else:
        meter.polled(account, finding)
    if change := decision.transition:
        meter.status_changed(account, change.to_status, delay_seconds=_delay(change))
    if decision.session.outcome:
        meter.finished(account, decision.session.outcome)
    if finding in ANOMALIES:
        meter.anomaly(finding)


def _delay(change: Transition) -> float | None:
    """Seconds from the change to its observation.

    None for a session's first status, and where Klarna gave no time for the change.
    """
    if change.from_status is None or change.occurred_at == change.observed_at:
        return None
    return (change.observed_at - change.occurred_at).total_seconds()
