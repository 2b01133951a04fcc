"""Postgres answers, but with an error or not yet: refused rows, locks, a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.trial import Trial

_FUNCTION = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = {}; END $$
"""


@contextmanager
def refusing(deployment: Deployment, event: str, sqlstate: str) -> Iterator[None]:
    """Meanwhile each row that `event` (such as `UPDATE ON table`) names meets an SQLSTATE."""
    with psycopg.connect(deployment.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL(_FUNCTION).format(sqlstate))
        connection.execute(f"CREATE TRIGGER refuse BEFORE {event} EXECUTE FUNCTION refuse()")
        yield
        connection.execute("DROP FUNCTION refuse() CASCADE")


RECORDS = "UPDATE ON payment_sessions FOR EACH ROW WHEN (OLD.poll_count < NEW.poll_count)"


@pytest.mark.parametrize(
    ("event", "sqlstate"),
    [
        pytest.param(RECORDS, "40001", id="serialization failure", marks=pytest.mark.slow),
        pytest.param(RECORDS, "40P01", id="deadlock", marks=pytest.mark.slow),
        pytest.param("INSERT ON status_transitions", "53100", id="disk full"),
    ],
)
def test_postgres_refuses_every_record(trial: Trial, event: str, sqlstate: str):
    worker, _ = trial.start("worker", "beat")
    ids = trial.put_in_flight()

    with refusing(trial.deployment, event, sqlstate):
        trial.klarna.release()
        eventually(
            lambda: all(is_refused(worker.log(), session_id) for session_id in ids),
            because="no poll is recorded",
        )

    trial.fault_over()
    trial.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sqlstate",
    [
        pytest.param("53100", id="disk full"),
        pytest.param("25006", id="read-only after a failover"),
        pytest.param("42501", id="a right not granted yet"),
    ],
)
def test_postgres_takes_no_new_session_while_the_shop_tracks(trial: Trial, sqlstate: str):
    worker, _ = trial.start("worker", "beat")

    with refusing(trial.deployment, "INSERT ON payment_sessions", sqlstate):
        ids = trial.create()
        trial.count_in_flight(len(ids))
        for session_id in ids:
            trial.deployment.track(session_id)
        eventually(
            lambda: all(f'"{id_}", "error": "postgres' in worker.log() for id_ in ids),
            because="every message waits",
        )

    trial.fault_over()
    trial.end()


def test_one_row_that_cannot_be_written_harms_no_other_of_its_group(trial: Trial):
    worker, _ = trial.start("worker", "beat")
    ids = trial.follow()
    bad, *others = ids

    with refusing(trial.deployment, f"{RECORDS[:-1]} AND OLD.session_id = '{bad}')", "22000"):
        trial.wait_for_polls(*others, more=3, within=15)
        eventually(lambda: bad in worker.log(), because="the row was refused")

    trial.fault_over()
    trial.end()


@pytest.mark.slow
def test_a_lock_on_one_row_keeps_no_other_waiting(trial: Trial):
    trial.start("worker", "beat")
    locked, *others = trial.follow()

    with psycopg.connect(trial.deployment.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "SELECT FROM payment_sessions WHERE session_id = %s FOR UPDATE", [locked]
        )
        trial.wait_for_polls(*others, more=4, within=15)

    trial.fault_over()
    trial.end()


@pytest.mark.slow
def test_a_lock_on_the_whole_table_is_waited_for(trial: Trial):
    worker, beat = trial.start("worker", "beat")
    ids = trial.put_in_flight()

    with psycopg.connect(trial.deployment.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
        trial.klarna.release()
        eventually(
            lambda: all(is_refused(worker.log(), session_id) for session_id in ids),
            within=60,
            because="no record waits for ever",
        )
        eventually(lambda: "tick_failed" in beat.log(), because="neither does beat")

    trial.fault_over()
    trial.end()


def is_refused(log: str, session_id: str) -> bool:
    """Whether a record of this session is said to wait, or to be given up."""
    return any(
        session_id in line and ('"poll_record_retrying"' in line or '"poll_dropped"' in line)
        for line in log.splitlines()
    )
