"""What must hold for every response of Klarna: the oracle of the property tests and the fuzzer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from tests.support.builders import SESSION_ID
from worker.adapters.klarna.client import LARGEST_BODY, _bounded_body, _raise_for_status
from worker.adapters.klarna.wire_models import parse_session
from worker.domain.account import LONGEST_PAUSE, AccountState
from worker.domain.errors import ObservationError, RateLimitedError, Verdict
from worker.domain.schedule import LONGEST_BACKOFF, LONGEST_INTERVAL, PollLimits
from worker.domain.session import (
    OPTIONAL_FIELDS,
    Kind,
    Observation,
    Outcome,
    PaymentSession,
    final_outcome,
)
from worker.domain.transitions import GIVE_UP_AFTER, NOT_FOUND_ANSWERS, Decision

Headers = list[tuple[bytes, bytes]]
Answer = Observation | ObservationError

LONGEST_ERROR = 300
# What a poll never changes, whatever the response.
_IDENTITY = (
    *("session_id", "account", "kind", "session_url", "reference", "tracked_at"),
    *("nudged_at", "guessed_outcome"),
)
# What only a healthy read changes.
_READ = (
    *("status", "status_updated_at", "status_observed_at", "expires_at", "last_read_at"),
    *("order_id", "klarna_reference", "transition_count"),
)


def answer_of(code: int, headers: Headers, body: bytes, kind: Kind) -> Answer:
    """Return the client's result for a response, from its status line on.

    Anything but an ObservationError goes through: it is a crash.
    """
    response = httpx.Response(code, headers=headers, stream=httpx.ByteStream(body))
    try:
        return _finished(_read(response, kind))
    except ObservationError as error:
        return error


async def _read(response: httpx.Response, kind: Kind) -> Observation:
    _raise_for_status(response)
    body = await _bounded_body(response)
    assert len(body) <= LARGEST_BODY
    return parse_session(body, kind=kind, session_id=SESSION_ID)


def _finished(reading: object) -> Observation:
    """Run a coroutine that never waits: the whole response is there."""
    try:
        reading.send(None)
    except StopIteration as stopped:
        return stopped.value
    raise AssertionError("the answer was there, and still something waited")


# --- the response


def check_answer(answer: Answer) -> None:
    """Check that nothing in it is harmful in a log, in the database or on a page."""
    if isinstance(answer, ObservationError):
        _check_error(answer)
        return
    assert 0 < len(answer.status) <= 255
    for text in (answer.status, answer.order_id, answer.klarna_reference):
        assert text is None or (text.isprintable() and 0 < len(text) <= 255)
    assert set(answer.ignored_fields) <= OPTIONAL_FIELDS
    token = answer.authorization_token
    assert token is None or (token.isprintable() and 0 < len(token) <= 4096)
    assert token is None or token.encode()
    for moment in (answer.updated_at, answer.expires_at):
        assert moment is None or (moment.tzinfo is UTC and 2000 <= moment.year <= 2200)


def _check_error(error: ObservationError) -> None:
    text = str(error)
    assert text.isprintable()
    assert text.isascii()
    assert len(text) <= LONGEST_ERROR
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        assert timedelta(0) <= error.retry_after <= timedelta(days=1)


# --- the session


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
            pauses = {Verdict.PAUSE_ACCOUNT, Verdict.SLOW_ACCOUNT, Verdict.RETRY}
            if isinstance(answer, ObservationError) and answer.verdict in pauses:
                assert now >= deadline + GIVE_UP_AFTER
        case Outcome.NOT_FOUND:
            assert answer.verdict is Verdict.NOT_FOUND
            assert before.status is None
            guessed = before.guessed_outcome is Outcome.NOT_FOUND
            assert guessed or after.not_found_count >= NOT_FOUND_ANSWERS
        case word:
            assert isinstance(answer, Observation)
            by_token = after.kind is Kind.KP and answer.authorization_token is not None
            assert word == (
                Outcome.COMPLETED if by_token else final_outcome(after.kind, answer.status)
            )


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
    """Check that the token is stored only with its event, and shown nowhere."""
    token = decision.session.authorization_token
    announced = any(event.type == "payment_session.authorized" for event in decision.events)
    assert (token is not None) is announced
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
