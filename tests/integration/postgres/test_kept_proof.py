"""Proof of payment under an open status is stored, and known to every later decision."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.builders import CANARY_TOKEN, LIMITS
from tests.support.leases import claim_and_load, decision_on
from tests.support.stored import Stored
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.session import Observation
from worker.domain.transitions import Finding, give_up

pytestmark = pytest.mark.anyio

PROOF = Observation(status="IN_PROGRESS", authorization_token=CANARY_TOKEN)


async def test_a_kept_token_is_stored_encrypted_and_outlives_reads_without_it(
    sessions: PostgresSessions, stored: Stored, cipher: FernetTokenCipher
):
    stored.add_session("s1")
    first = (await claim_and_load(sessions))["s1"]
    assert not first.session.holds_token
    assert await sessions.record(first, decision_on(first, PROOF))
    stored.put_due("s1", -1)
    second = (await claim_and_load(sessions))["s1"]
    assert await sessions.record(second, decision_on(second, "IN_PROGRESS"))

    row = stored.session("s1")
    assert cipher.decrypt(row["authorization_token"]) == CANARY_TOKEN
    assert second.session.holds_token
    assert (row["outcome"], row["poll_count"], row["transition_count"]) == (None, 2, 1)
    assert CANARY_TOKEN not in f"{second!r}"


async def test_proof_alone_is_recorded_without_a_transition(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", status="IN_PROGRESS")
    leased = (await claim_and_load(sessions))["s1"]
    decision = decision_on(leased, PROOF)
    assert (decision.finding, decision.transition) == (Finding.PROOF_KEPT, None)

    assert await sessions.record(leased, decision)

    row = stored.session("s1")
    assert row["authorization_token"] is not None
    assert (row["outcome"], row["lease_id"]) == (None, None)
    assert stored.rows("SELECT * FROM outbox_messages") == []


async def test_a_session_that_holds_a_token_is_given_up_as_completed(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", status="IN_PROGRESS", authorization_token=b"encrypted")
    leased = (await claim_and_load(sessions))["s1"]
    given_up = give_up(leased.session, now=leased.loaded_at + timedelta(days=9), limits=LIMITS)

    assert await sessions.record(leased, given_up)

    assert stored.session("s1")["outcome"] == "completed"
    assert stored.value("SELECT event_type FROM outbox_messages") == "payment_session.completed"
