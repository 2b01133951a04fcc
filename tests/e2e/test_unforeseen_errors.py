"""A database that refuses a statement in a way that nobody foresaw loses no message."""

from __future__ import annotations

import uuid

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
"""
ALLOW = "DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse()"
# An id that no encoding of a database takes as it is.
ODD_ID = "t\x00\ud800€"


def is_resolved(deployment: Deployment, task_id: str, session_id: str) -> None:
    eventually(
        lambda: deployment.refused(task_id)["resolution"] == "taken",
        within=60,
        because="it is taken by itself",
    )
    assert deployment.session(session_id)


@pytest.mark.parametrize("state", ["P0001", "ZZ007"])
def test_a_track_that_a_trigger_refuses_is_kept_and_taken_when_it_is_gone(
    deployment: Deployment, sandbox: SandboxClient, state: str
):
    session_id = sandbox.create_session()["session_id"]
    deployment.start_all("worker", "beat")
    deployment.query(REFUSE.format(table="payment_sessions", state=state))

    task_id = deployment.track(session_id)

    kept = deployment.refused(task_id)
    assert (kept["field"], kept["session_id"]) == ("unforeseen", session_id)
    assert kept["next_try_at"] is not None
    eventually(
        lambda: deployment.refused(task_id)["attempts"] >= 1, because="it is retried by itself"
    )
    deployment.query(ALLOW.format(table="payment_sessions"))
    is_resolved(deployment, task_id, session_id)


def test_a_track_that_an_exclusion_refuses_is_kept_and_taken_when_it_is_gone(
    deployment: Deployment, sandbox: SandboxClient
):
    first, second = (sandbox.create_session()["session_id"] for _ in range(2))
    deployment.query("ALTER TABLE payment_sessions ADD CONSTRAINT once EXCLUDE (reference WITH =)")
    deployment.start_all("worker", "beat")
    deployment.track(first, reference="order-1")
    eventually(lambda: deployment.session(first), because="the first is tracked")

    task_id = deployment.track(second, reference="order-1")

    assert deployment.refused(task_id)["field"] == "unforeseen"
    deployment.query("ALTER TABLE payment_sessions DROP CONSTRAINT once")
    is_resolved(deployment, task_id, second)


def test_a_message_that_cannot_even_be_kept_stays_with_the_broker(
    deployment: Deployment, sandbox: SandboxClient
):
    worker, _ = deployment.start_all("worker", "beat")
    deployment.query(REFUSE.format(table="refused_messages", state="P0001"))
    wrong = deployment.send("payment_sessions.track", "a/b")
    eventually(lambda: "refused_message_retrying" in worker.log(), because="it is tried to be kept")
    good = sandbox.create_session()["session_id"]
    deployment.track(good)
    eventually(lambda: deployment.session(good), because="the others are taken meanwhile")
    assert worker.stop() == 0, "it goes back to its queue"
    deployment.start("worker")

    deployment.query(ALLOW.format(table="refused_messages"))

    assert deployment.refused(wrong)["field"] == "session_id"
    assert len(deployment.query("SELECT * FROM refused_messages")) == 1


def test_a_task_id_that_cannot_be_stored_loses_no_message(deployment: Deployment):
    deployment.start_all("worker")
    deployment.shop.send_task(
        "payment_sessions.track", args=["a/b"], queue="payment-sessions", task_id=ODD_ID
    )
    last = deployment.send("payment_sessions.track", str(uuid.uuid4()), kind="x")

    deployment.refused(last)
    assert deployment.refused("t???")["field"] == "session_id"
