"""Postgres answers, but with an error or not yet: refused rows, locks, a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.experiment import Experiment

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
def test_postgres_refuses_every_record(experiment: Experiment, event: str, sqlstate: str):
    worker, _ = experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    with refusing(experiment.deployment, event, sqlstate):
        experiment.klarna.release()
        eventually(
            lambda: all(is_refused(worker.log(), session_id) for session_id in ids),
            because="no poll is recorded",
        )

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sqlstate",
    [
        pytest.param("53100", id="disk full"),
        pytest.param("25006", id="read-only after a failover"),
        pytest.param("42501", id="a right not granted yet"),
    ],
)
def test_postgres_takes_no_new_session_while_the_shop_tracks(experiment: Experiment, sqlstate: str):
    worker, _ = experiment.start("worker", "beat")

    with refusing(experiment.deployment, "INSERT ON payment_sessions", sqlstate):
        ids = experiment.create()
        experiment.count_in_flight(len(ids))
        for session_id in ids:
            experiment.deployment.track(session_id)
        eventually(
            lambda: all(f'"{id_}", "error": "postgres' in worker.log() for id_ in ids),
            because="every message waits",
        )

    experiment.fault_over()
    experiment.end()


def test_one_row_that_cannot_be_written_harms_no_other_of_its_group(experiment: Experiment):
    worker, _ = experiment.start("worker", "beat")
    ids = experiment.track()
    bad, *others = ids

    with refusing(experiment.deployment, f"{RECORDS[:-1]} AND OLD.session_id = '{bad}')", "22000"):
        experiment.wait_for_polls(*others, more=3, within=15)
        eventually(lambda: bad in worker.log(), because="the row was refused")

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
def test_a_lock_on_one_row_keeps_no_other_waiting(experiment: Experiment):
    experiment.start("worker", "beat")
    locked, *others = experiment.track()

    with psycopg.connect(experiment.deployment.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "SELECT FROM payment_sessions WHERE session_id = %s FOR UPDATE", [locked]
        )
        experiment.wait_for_polls(*others, more=4, within=15)

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
def test_a_lock_on_the_whole_table_is_waited_for(experiment: Experiment):
    worker, beat = experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    with psycopg.connect(experiment.deployment.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
        experiment.klarna.release()
        eventually(
            lambda: all(is_refused(worker.log(), session_id) for session_id in ids),
            within=60,
            because="no record waits for ever",
        )
        eventually(lambda: "tick_failed" in beat.log(), because="neither does beat")

    experiment.fault_over()
    experiment.end()


def is_refused(log: str, session_id: str) -> bool:
    """Whether a record of this session is said to wait, or to be given up."""
    return any(
        session_id in line and ('"poll_record_retrying"' in line or '"poll_dropped"' in line)
        for line in log.splitlines()
    )
