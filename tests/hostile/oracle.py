"""What must hold for every decision: the oracle of the property tests and the fuzzer."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tests.hostile.answers import Answer
from worker.domain.account import LONGEST_PAUSE, AccountState
from worker.domain.endings import EMPTY_COMPLETED_WINDOW
from worker.domain.errors import ObservationError, Verdict
from worker.domain.schedule import LONGEST_BACKOFF, LONGEST_INTERVAL, PollLimits
from worker.domain.session import (
    HPP_OPEN,
    Kind,
    Observation,
    Outcome,
    PaymentSession,
    final_outcome,
)
from worker.domain.transitions import GIVE_UP_AFTER, NOT_FOUND_ANSWERS, Decision

# What a poll never changes, whatever the response.
_IDENTITY = (
    *("session_id", "account", "kind", "session_url", "reference", "tracked_at"),
    *("nudged_at", "guessed_outcome"),
)
# The documented statuses under which proof of payment settles nothing.
UNSETTLED = {Kind.HPP: {*HPP_OPEN, "CANCELLED", "DISABLED"}, Kind.KP: {"incomplete"}}
# What only a healthy read changes.
_READ = (
    *("status", "status_updated_at", "status_observed_at", "expires_at", "last_read_at"),
    *("order_id", "klarna_reference", "transition_count"),
)


def check_decision(
    before: PaymentSession,
    account: AccountState,
    answer: Answer,
    decision: Decision,
    *,
    now: datetime,
    limits: PollLimits,
) -> None:
    """Check that the session changed as DESIGN 5 says, and in no other way."""
    after = decision.session
    assert [getattr(after, name) for name in _IDENTITY] == [getattr(before, n) for n in _IDENTITY]
    assert (after.poll_count, after.last_polled_at) == (before.poll_count + 1, now)
    assert decision.account_before == account
    _check_end(before, after, answer, now=now, limits=limits)
    _check_history(before, decision, now=now)
    _check_token(answer, decision)
    if isinstance(answer, ObservationError):
        _check_failed(before, decision, answer, now=now, limits=limits)
    else:
        _check_read(before, decision, answer, now=now, limits=limits)


def _check_end(
    before: PaymentSession, after: PaymentSession, answer: Answer, *, now: datetime, limits: object
) -> None:
    ended = after.outcome is not None
    assert ended is (after.next_poll_at is None) is (after.finished_at is not None)
    if not ended:
        return
    assert after.finished_at == now
    deadline = after.deadline(limits.max_lifetime)
    match after.outcome:
        case Outcome.EXPIRED:
            assert now >= deadline
            assert not after.has_proof
            pauses = {Verdict.PAUSE_ACCOUNT, Verdict.SLOW_ACCOUNT, Verdict.RETRY}
            if isinstance(answer, ObservationError) and answer.verdict in pauses:
                assert now >= deadline + GIVE_UP_AFTER
        case Outcome.NOT_FOUND:
            assert answer.verdict is Verdict.NOT_FOUND
            assert before.status is None
            guessed = before.guessed_outcome is Outcome.NOT_FOUND
            assert guessed or after.not_found_count >= NOT_FOUND_ANSWERS
        case Outcome.COMPLETED:
            _check_completed(before, answer, now=now, is_over=now >= deadline)
        case word:
            assert isinstance(answer, Observation)
            assert word == final_outcome(after.kind, answer.status)


def _check_completed(
    before: PaymentSession, answer: Answer, *, now: datetime, is_over: bool
) -> None:
    """Check that this answer settled it, or that there was none better until the end."""
    kept = before.has_proof
    if isinstance(answer, Observation):
        by_token = before.kind is Kind.KP and answer.authorization_token is not None
        by_proof = answer.has_proof and answer.status not in UNSETTLED[before.kind]
        is_placed = before.kind is Kind.KP and answer.status == "complete"
        if by_token or by_proof or is_placed:
            return
        kept = kept or answer.has_proof
    if before.kind is Kind.HPP and before.status == "COMPLETED":
        assert is_over or now >= before.status_observed_at + EMPTY_COMPLETED_WINDOW
    else:
        assert is_over
        assert kept


def _check_history(before: PaymentSession, decision: Decision, *, now: datetime) -> None:
    after, change, events = decision.session, decision.transition, decision.events
    assert after.transition_count == before.transition_count + (change is not None)
    if change is None:
        assert after.status == before.status
    else:
        assert change.sequence == before.transition_count + 1
        assert (change.from_status, change.to_status) == (before.status, after.status)
        assert change.occurred_at <= change.observed_at == now
    if final_outcome(before.kind, before.status):
        assert change is None
    assert after.event_count == before.event_count + len(events)
    first = before.event_count + 1
    assert [event.sequence for event in events] == list(range(first, first + len(events)))
    assert len({event.event_id for event in events}) == len(events)
    assert not events or after.outcome is not None
    if after.outcome is not None and not after.outcome.is_guess:
        assert events


def _check_token(answer: Answer, decision: Decision) -> None:
    """Check that the token is stored with its event or kept, and shown nowhere."""
    token = decision.session.authorization_token
    types = [event.type for event in decision.events]
    if token is None:
        assert "payment_session.authorized" not in types
    elif "payment_session.authorized" not in types:
        assert answer.status in HPP_OPEN
    assert "payment_session.order_placed" not in types or answer.order_id is not None
    if token is not None:
        assert token == answer.authorization_token
        assert all("authorization_token" not in event.data for event in decision.events)
        hidden = replace(decision.session, authorization_token=None)
        assert repr(hidden) == repr(decision.session)


def _check_read(
    before: PaymentSession,
    decision: Decision,
    answer: Observation,
    *,
    now: datetime,
    limits: PollLimits,
) -> None:
    after = decision.session
    assert (after.last_error, after.consecutive_failures, after.last_read_at) == (None, 0, now)
    settled = after.outcome is not None and not after.outcome.is_guess
    is_older = (
        answer.updated_at is not None
        and before.status_updated_at is not None
        and answer.updated_at < before.status_since
    )
    if is_older and not settled:
        assert decision.transition is None
        assert after.expires_at == before.expires_at
    if decision.transition is not None:
        assert after.status == answer.status
    if after.next_poll_at is not None:
        assert now <= after.next_poll_at <= now + min(limits.max_interval, LONGEST_INTERVAL)
    if after.next_poll_at is not None and not after.is_completed_empty:
        _check_final_read(after, now=now, limits=limits)


def _check_failed(
    before: PaymentSession,
    decision: Decision,
    error: ObservationError,
    *,
    now: datetime,
    limits: PollLimits,
) -> None:
    after = decision.session
    assert [getattr(after, name) for name in _READ] == [getattr(before, name) for name in _READ]
    assert after.last_error == str(error)
    assert decision.transition is None
    if after.next_poll_at is None:
        return
    if error.verdict in {Verdict.PAUSE_ACCOUNT, Verdict.SLOW_ACCOUNT}:
        paused = decision.account_before.paused_until or now
        assert now <= after.next_poll_at <= max(now + LONGEST_PAUSE, paused)
        assert after.consecutive_failures == before.consecutive_failures
    else:
        assert now <= after.next_poll_at <= now + min(LONGEST_BACKOFF, limits.max_interval)
        assert after.consecutive_failures == before.consecutive_failures + 1
        _check_final_read(before, now=now, limits=limits)


def _check_final_read(session: PaymentSession, *, now: datetime, limits: PollLimits) -> None:
    """Check that the next poll is not later than the read after the expiry."""
    final_read_at = session.deadline(limits.max_lifetime) + limits.expiry_grace
    if now < final_read_at and session.next_poll_at is not None:
        assert session.next_poll_at <= max(final_read_at, now)
