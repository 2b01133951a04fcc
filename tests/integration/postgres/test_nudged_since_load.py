"""What the shop sends while a poll is under way is neither lost nor overwritten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.leases import claim_and_load, decision_on, documented_url, track
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.confirmations import PostgresConfirmations
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.errors import (
    AccountRefusedError,
    InvalidArgumentError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.session import Kind, Observation
from worker.services.sessions import LeasedSession, Recorded

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_guess_is_not_written_over_a_correction(sessions: PostgresSessions, stored: Stored):
    stored.add_session("s1", expires_at=LONG_AGO, tracked_at=LONG_AGO)
    leased = (await claim_and_load(sessions))["s1"]
    guess = decision_on(leased, SessionNotFoundError(status_code=404))
    assert guess.session.outcome == "expired"

    await track(sessions, expires_at=LATER)

    assert await sessions.record(leased, guess) is None
    row = stored.session("s1")
    assert (row["outcome"], row["expires_at"]) == (None, LATER)
    assert stored.value("SELECT count(*) FROM outbox_messages") == 0


async def test_a_final_answer_is_written_whatever_was_said(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1")
    leased = (await claim_and_load(sessions))["s1"]
    await track(sessions)

    await sessions.record(leased, decision_on(leased, "CANCELLED"))

    assert stored.session("s1")["outcome"] == "cancelled"


async def test_an_order_confirmed_meanwhile_is_waited_for_no_longer(
    sessions: PostgresSessions, engine: AsyncEngine, stored: Stored
):
    """The shop confirmed the order before the worker read the session."""
    stored.add_session("s1")
    leased = (await claim_and_load(sessions))["s1"]
    paid = Observation(status="COMPLETED", authorization_token="a-token")
    decision = decision_on(leased, paid)
    assert decision.session.next_warning_at is not None

    await PostgresConfirmations(engine, routes=()).confirm("s1", "order-1")
    await sessions.record(leased, decision)

    row = stored.session("s1")
    assert (row["outcome"], row["confirmed_order_id"]) == ("completed", "order-1")
    assert (row["next_warning_at"], row["lease_id"]) == (None, None)
    assert row["authorization_expires_at"] is not None


async def test_a_failed_read_keeps_what_the_shop_corrected(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", not_found_count=4, not_found_since=LONG_AGO, consecutive_failures=4)
    leased = (await claim_and_load(sessions))["s1"]
    await track(sessions, expires_at=LATER, account="us")

    await sessions.record(leased, decision_on(leased, ServerError(status_code=503)))

    row = stored.session("s1")
    assert (row["expires_at"], row["account"]) == (LATER, "us")
    assert (row["not_found_count"], row["consecutive_failures"]) == (0, 0)
    assert row["last_error"] == "server_error: HTTP 503"


async def test_klarnas_own_end_wins_over_a_correction(sessions: PostgresSessions, stored: Stored):
    stored.add_session("s1")
    leased = (await claim_and_load(sessions))["s1"]
    await track(sessions, expires_at=LATER)
    klarnas = datetime(2029, 1, 1, tzinfo=UTC)

    answer = Observation(status="WAITING", expires_at=klarnas)
    await sessions.record(leased, decision_on(leased, answer))

    assert stored.session("s1")["expires_at"] == klarnas


# --- where no account is called `default`


def only_nordic(account: str, kind: Kind, session_id: str) -> str:
    if account != "nordic":
        raise InvalidArgumentError("account", "is not configured")
    return documented_url(account, kind, session_id)


async def test_a_session_of_another_account_is_nudged_by_its_id_alone(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", account="nordic")

    await track(sessions, session_urls=only_nordic)

    assert stored.session("s1")["nudged_at"] is not None


async def test_a_new_session_without_a_configured_account_is_refused_even_with_its_url(
    sessions: PostgresSessions, stored: Stored
):
    """Stored, it would never be claimed, and the shop would get no event."""
    url = "https://klarna.test/hpp/v1/sessions/s1"

    with pytest.raises(InvalidArgumentError, match="account"):
        await track(sessions, session_urls=only_nordic, session_url=url)

    assert stored.value("SELECT count(*) FROM payment_sessions") == 0


# --- the lease


@pytest.fixture
async def leased(sessions: PostgresSessions, stored: Stored) -> LeasedSession:
    stored.add_session("s1", reference="order-1")
    return (await claim_and_load(sessions))["s1"]


@pytest.mark.parametrize("answer", ["WAITING", ServerError()], ids=["change", "quiet"])
async def test_a_nudge_meanwhile_keeps_the_lease_for_polling_again_at_once(
    sessions: PostgresSessions,
    stored: Stored,
    leased: LeasedSession,
    answer: ServerError | str,
):
    await track(sessions)

    assert await sessions.record(leased, decision_on(leased, answer)) == Recorded(nudged=True)

    row = stored.session("s1")
    assert row["lease_id"] == leased.lease_id
    assert row["next_poll_at"] - row["nudged_at"] < timedelta(seconds=5)


async def test_a_nudge_before_the_load_was_answered_by_it(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", due_in=600)
    await track(sessions)
    stored.rows("UPDATE payment_sessions SET lease_id = NULL, lease_expires_at = NULL")
    leased = (await claim_and_load(sessions))["s1"]

    assert await sessions.record(leased, decision_on(leased, "WAITING")) == Recorded(nudged=False)


@pytest.mark.parametrize(
    "answer",
    [AccountRefusedError(status_code=401), RateLimitedError(retry_after=timedelta(seconds=30))],
    ids=["refused", "rate limited"],
)
async def test_a_nudge_while_the_account_waits_does_not_poll_again(
    sessions: PostgresSessions,
    stored: Stored,
    leased: LeasedSession,
    answer: AccountRefusedError | RateLimitedError,
):
    await track(sessions)
    decision = decision_on(leased, answer)

    assert await sessions.record(leased, decision) == Recorded(nudged=False)

    row = stored.session("s1")
    assert row["lease_id"] is None
    assert row["next_poll_at"] == decision.account.paused_until


async def test_a_nudge_of_a_session_that_just_ended_does_not_poll_again(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    await track(sessions)

    assert await sessions.record(leased, decision_on(leased, "CANCELLED")) == Recorded(nudged=False)

    assert (stored.session("s1")["lease_id"], stored.session("s1")["next_poll_at"]) == (None, None)
