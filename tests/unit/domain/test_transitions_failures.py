"""`decide` on failed reads: backoff, the account's pauses, and when a 404 is the truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.builders import (
    LIMITS,
    NOW,
    a_read_session,
    a_session,
    ago,
    ahead,
    decided,
)
from worker.domain.account import COUNTED_FAILURES, AccountState
from worker.domain.errors import (
    AccountRefusedError,
    ConnectionFailedError,
    DeadlineExceededError,
    ObservationError,
    OriginNotAllowedError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.session import Outcome, PaymentSession
from worker.domain.transitions import Finding

RETRIED = [
    ProtocolError("body is not JSON", status_code=200),
    ServerError(status_code=503, correlation_id="abc"),
    DeadlineExceededError(),
    ConnectionFailedError("dns"),
    OriginNotAllowedError(),
]
NOT_FOUND = SessionNotFoundError(status_code=404)
REFUSED = AccountRefusedError(status_code=401)
THROTTLED = RateLimitedError()


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: error.label)
@pytest.mark.parametrize(
    ("failures_before", "ceiling"), [(0, 1), (1, 2), (2, 4), (7, 128), (9, 300), (90, 300)]
)
def test_a_failed_read_is_retried_with_full_jitter_backoff(
    error: ObservationError, failures_before: int, ceiling: int
):
    before = a_read_session(consecutive_failures=failures_before)

    decision = decided(before, error, jitter=0.25)

    assert decision.finding is Finding.FAILED
    assert decision.is_unchanged
    assert decision.session == replace(
        before,
        poll_count=4,
        last_polled_at=NOW,
        consecutive_failures=failures_before + 1,
        failing_since=NOW,
        last_error=str(error),
        next_poll_at=NOW + timedelta(seconds=ceiling * 0.25),
    )
    counted = int(error.of_account and failures_before < COUNTED_FAILURES)
    assert (decision.account.failures, decision.account.paused_until) == (counted, None)


def test_a_retry_is_never_later_than_the_longest_interval():
    decision = decided(
        a_read_session(consecutive_failures=20),
        ServerError(),
        jitter=0.5,
        limits=replace(LIMITS, max_interval=timedelta(seconds=8)),
    )

    assert decision.session.next_poll_at == NOW + timedelta(seconds=4)


def test_a_retry_falls_on_the_last_read_where_it_would_come_after_it():
    decision = decided(
        a_read_session(consecutive_failures=9, expires_at=ago(seconds=20)),
        ServerError(),
        jitter=0.9,
    )

    assert decision.session.next_poll_at == ahead(seconds=10)


# --- 401, 403, 429: the account waits


@pytest.mark.parametrize(
    ("refusals", "seconds"), [(0, 5), (1, 10), (2, 20), (5, 160), (6, 300), (7, 300), (5000, 300)]
)
@pytest.mark.parametrize("status_code", [401, 403])
def test_a_refusal_pauses_the_account_doubling_up_to_five_minutes(
    refusals: int, seconds: int, status_code: int
):
    before = a_read_session(consecutive_failures=2)
    since = ahead(seconds=-600) if refusals else None
    account = AccountState(version=3, refusals=refusals, failing_since=since)
    pause_ends_at = NOW + timedelta(seconds=seconds)

    decision = decided(before, AccountRefusedError(status_code=status_code), account=account)

    assert decision.finding is Finding.FAILED
    assert decision.account == replace(
        account,
        paused_until=pause_ends_at,
        refusals=refusals + 1,
        failing_since=since or NOW,
    )
    assert decision.session == replace(
        before,
        poll_count=4,
        last_polled_at=NOW,
        failing_since=NOW,
        last_error=f"account_refused: HTTP {status_code}",
        next_poll_at=pause_ends_at,
    )


@pytest.mark.parametrize(
    ("throttles", "retry_after", "seconds"),
    [
        pytest.param(0, timedelta(seconds=7), 7, id="as-long-as-asked"),
        pytest.param(9, timedelta(seconds=7), 7, id="as-long-as-asked-each-time"),
        pytest.param(0, None, 1, id="backoff"),
        pytest.param(3, None, 8, id="backoff-doubles"),
        pytest.param(30, None, 300, id="backoff-ends-at-five-minutes"),
        pytest.param(0, timedelta(0), 1, id="asked-to-wait-for-nothing"),
    ],
)
def test_a_429_slows_the_account_down_and_spends_no_failure_budget(
    throttles: int, retry_after: timedelta | None, seconds: int
):
    before = a_read_session(consecutive_failures=2, not_found_count=1, not_found_since=ago(hours=1))
    until = NOW + timedelta(seconds=seconds)

    decision = decided(
        before, RateLimitedError(retry_after=retry_after), account=AccountState(throttles=throttles)
    )

    assert decision.account == AccountState(
        paused_until=until, throttles=throttles + 1, quota_share=0.7, quota_cut_at=NOW
    )
    assert decision.session.next_poll_at == until
    assert decision.session.consecutive_failures == 2
    assert decision.session.last_error == "rate_limited: HTTP 429"
    assert decision.session.not_found_count == 1


def test_a_429_never_shortens_a_pause():
    paused = AccountState(paused_until=ahead(seconds=90))

    decision = decided(a_session(), THROTTLED, account=paused)

    assert decision.account.paused_until == ahead(seconds=90)


# --- 404


def test_a_404_before_the_end_is_retried_and_counted():
    decision = decided(a_session(consecutive_failures=1), NOT_FOUND, jitter=0.5)

    after = decision.session
    assert decision.finding is Finding.FAILED
    assert (after.not_found_count, after.not_found_since) == (1, NOW)
    assert after.consecutive_failures == 2
    assert after.next_poll_at == ahead(seconds=1)
    assert after.last_error == "not_found: HTTP 404"


def test_a_404_is_an_answer_to_good_credentials_but_no_healthy_read():
    paused = AccountState(paused_until=NOW, refusals=2, throttles=1, last_read_at=ago(hours=1))

    decision = decided(a_session(), NOT_FOUND, account=paused)

    assert decision.account == AccountState(last_read_at=ago(hours=1), recovered_at=NOW)


# Four 404s since a quarter of an hour, never read, its account read meanwhile: one more settles it.
MISSING = a_session(not_found_count=4, not_found_since=ago(minutes=15))
READ_MEANWHILE = AccountState(last_read_at=ago(minutes=15))


def test_the_fifth_404_of_a_never_read_session_says_not_found():
    decision = decided(MISSING, NOT_FOUND, account=READ_MEANWHILE)

    assert decision.session.outcome is Outcome.NOT_FOUND
    assert decision.session.next_poll_at is None
    assert decision.session.status is None
    assert decision.finding is Finding.FINISHED
    assert decision.transition is None
    assert [(e.type, e.time) for e in decision.events] == [("payment_session.not_found", NOW)]


@pytest.mark.parametrize(
    ("session", "account"),
    [
        pytest.param(replace(MISSING, not_found_count=3), READ_MEANWHILE, id="only-four"),
        pytest.param(
            replace(MISSING, not_found_since=ago(minutes=14, seconds=59)),
            READ_MEANWHILE,
            id="within-a-quarter-of-an-hour",
        ),
        pytest.param(replace(MISSING, status="WAITING"), READ_MEANWHILE, id="read-before"),
        pytest.param(MISSING, AccountState(), id="account-never-read"),
        pytest.param(
            MISSING, AccountState(last_read_at=ago(minutes=16)), id="account-not-read-meanwhile"
        ),
    ],
)
def test_short_of_any_condition_a_404_is_only_a_failure(
    session: PaymentSession, account: AccountState
):
    decision = decided(session, NOT_FOUND, account=account)

    assert decision.session.outcome is None
    assert decision.session.next_poll_at >= NOW
    assert decision.events == ()


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: error.label)
def test_another_failure_breaks_the_row_of_404s(error: ObservationError):
    between = decided(MISSING, error).session

    decision = decided(between, NOT_FOUND, account=READ_MEANWHILE)

    assert (decision.session.not_found_count, decision.session.outcome) == (1, None)


@pytest.mark.parametrize("error", [REFUSED, THROTTLED], ids=lambda error: error.label)
def test_an_account_that_waits_says_nothing_of_the_row_of_404s(error: ObservationError):
    between = decided(MISSING, error).session

    assert decided(between, NOT_FOUND, account=READ_MEANWHILE).session.outcome is Outcome.NOT_FOUND
