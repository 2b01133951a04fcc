"""Whatever Klarna answers, in whatever order: the promises of a session's history hold."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import (
    CANARY_TOKEN,
    NOW,
    a_kp_session,
    a_session,
    ago,
    ahead,
    decided,
)
from worker.domain.account import AccountState
from worker.domain.errors import (
    AccountRefusedError,
    ObservationError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.session import Kind, Observation, Outcome, PaymentSession
from worker.domain.session_addresses import default_session_url
from worker.domain.tracking import TrackRequest, apply_track
from worker.domain.transitions import Decision

statuses = st.sampled_from(
    ["WAITING", "IN_PROGRESS", "FAILED", "COMPLETED", "CANCELLED", "DISABLED", "NEW", "complete"]
)
moments = st.integers(-400, 400).map(lambda hours: ahead(hours=hours / 4))
observations = st.builds(
    Observation,
    status=statuses,
    updated_at=st.none() | moments,
    expires_at=st.none() | moments,
    order_id=st.none() | st.just("order-1"),
    authorization_token=st.none() | st.just(CANARY_TOKEN),
)
errors = st.sampled_from(
    [
        ProtocolError("no status"),
        ServerError(status_code=500),
        SessionNotFoundError(status_code=404),
        AccountRefusedError(status_code=403),
        RateLimitedError(retry_after=timedelta(seconds=9)),
    ]
)
answers = observations | errors | errors
sessions = st.sampled_from(
    [a_session(), a_session(expires_at=None), a_kp_session(), a_session(expires_at=ago(hours=23))]
)
steps = st.lists(st.tuples(answers, st.integers(0, 500)), min_size=1, max_size=25)


def follow(
    session: PaymentSession, answered: list[tuple[Observation | ObservationError, int]]
) -> list[Decision]:
    """Return one decision for each answer; a session that ended by a guess is tracked again."""
    decisions, account, now = [], AccountState(), NOW
    for answer, minutes in answered:
        if session.outcome is not None:
            session = tracked_again(session)
            if session.outcome is not None:
                break
        now += timedelta(minutes=minutes)
        decision = decided(session, answer, account=account, now=now)
        decisions.append(decision)
        session, account = decision.session, decision.account
    return decisions


def tracked_again(session: PaymentSession) -> PaymentSession:
    return apply_track(
        session,
        TrackRequest(session_id=session.session_id),
        now=session.last_polled_at,
        session_url_for=lambda _, kind: default_session_url("https://h", kind, session.session_id),
    )[0]


@settings(max_examples=150, deadline=None, database=None)
@given(sessions, steps)
def test_a_sessions_history_keeps_its_promises(
    session: PaymentSession, answered: list[tuple[Observation | ObservationError, int]]
):
    decisions = follow(session, answered)

    transitions = [decision.transition for decision in decisions if decision.transition]
    events = [event for decision in decisions for event in decision.events]
    assert [t.sequence for t in transitions] == list(range(1, len(transitions) + 1))
    arrived = [None, *(t.to_status for t in transitions)]
    assert [t.from_status for t in transitions] == arrived[: len(transitions)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len({event.event_id for event in events}) == len(events)
    assert CANARY_TOKEN not in f"{decisions!r} {[event.envelope() for event in events]}"
    for decision in decisions:
        check_one(decision)
    # Of an ending by Klarna's word there is one, and it is the last thing that happens.
    words = [d.session.outcome for d in decisions if d.session.outcome]
    assert all(word.is_guess for word in words[:-1])


def check_one(decision: Decision) -> None:
    session, now = decision.session, decision.decided_at
    ended = session.outcome is not None
    assert ended is (session.next_poll_at is None) is (session.finished_at is not None)
    assert ended or session.next_poll_at >= now
    assert not decision.events or ended
    if decision.transition:
        assert decision.transition.occurred_at <= decision.transition.observed_at == now
    if session.outcome is Outcome.COMPLETED:
        assert decision.events
    if session.outcome is Outcome.EXPIRED:
        assert not session.has_proof
    if session.kind is Kind.HPP and session.status in {"COMPLETED", "CANCELLED", "DISABLED"}:
        assert session.is_completed_empty or session.outcome == session.status.lower()
