"""Connections to Postgres of which one end is gone and nobody was told."""

from __future__ import annotations

import pytest

from tests.support.tcp_proxy import TcpProxy, Trap
from tests.support.trial import Trial

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The default lease: what the waits on a database that answers nothing are made for."""
    return environment | {"POLL_LEASE_SECONDS": "30"}


@pytest.fixture
def trial(trial: Trial, postgres: TcpProxy) -> Trial:
    trial.overrides["DATABASE_URL"] = postgres.url
    return trial


def test_every_connection_to_postgres_goes_silent_and_nothing_is_closed(
    trial: Trial, postgres: TcpProxy
):
    trial.start("worker", "beat")
    trial.put_in_flight()

    postgres.drop()
    trial.klarna.release()
    postgres.wait_for_frozen(10)

    postgres.restore()
    trial.fault_over()
    trial.end()


def test_a_record_is_lost_between_its_statement_and_its_commit(trial: Trial, postgres: TcpProxy):
    trial.start("worker", "beat")
    trial.put_in_flight()

    postgres.trap("UPDATE payment_sessions AS p", Trap.FREEZE_AFTER)
    trial.klarna.release()
    postgres.wait_for_frozen(10)

    postgres.clear_traps()
    trial.fault_over()
    trial.end()
