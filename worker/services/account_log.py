"""Tells what an answer made of its account."""

from __future__ import annotations

import structlog

from worker.domain.decision import Decision

log = structlog.get_logger(__name__)


def log_account(decision: Decision, *, error: str | None) -> None:
    """Log what changed; only where it was written, so that a wave of answers tells it once."""
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
