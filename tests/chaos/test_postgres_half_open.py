"""Half-open connections to Postgres."""

from __future__ import annotations

import pytest

from tests.support.experiment import Experiment
from tests.support.tcp_proxy import TcpProxy, Trap

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The default lease: what the waits on a database that answers nothing are made for."""
    return environment | {"POLL_LEASE_SECONDS": "30"}


@pytest.fixture
def experiment(experiment: Experiment, postgres: TcpProxy) -> Experiment:
    experiment.overrides["DATABASE_URL"] = postgres.url
    return experiment


def test_every_connection_to_postgres_goes_silent_and_nothing_is_closed(
    experiment: Experiment, postgres: TcpProxy
):
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    postgres.drop()
    experiment.klarna.release()
    postgres.wait_for_frozen(10)

    postgres.restore()
    experiment.fault_over()
    experiment.end()


def test_a_record_is_lost_between_its_statement_and_its_commit(
    experiment: Experiment, postgres: TcpProxy
):
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    postgres.trap("UPDATE payment_sessions AS p", Trap.FREEZE_AFTER)
    experiment.klarna.release()
    postgres.wait_for_frozen(10)

    postgres.clear_traps()
    experiment.fault_over()
    experiment.end()
