"""Deploys under load: the schema moves while payment sessions are polled."""

from __future__ import annotations

import pytest

from tests.support.databases import migrate
from tests.support.trial import Trial

# What a later release may do to a table that this release reads: expand it.
EXPAND = "ALTER TABLE payment_sessions ADD COLUMN of_the_next_release text"
CONTRACT = "ALTER TABLE payment_sessions DROP COLUMN of_the_next_release"


def test_the_table_gets_a_column_and_loses_it_again_under_load(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.follow()
    # A statement that was run this often is prepared on its connection.
    trial.wait_for_polls(*ids, more=6)

    for change in (EXPAND, CONTRACT):
        trial.deployment.query(change)
        trial.fault_over()
        trial.wait_for_polls(*ids, more=2)

    trial.end()
    assert "raised unexpected" not in trial.deployment.logs()


@pytest.mark.slow
def test_migrations_go_up_down_and_up_under_load(trial: Trial):
    url = trial.deployment.environment["DATABASE_URL"]
    trial.start("worker", "beat")
    ids = trial.follow()

    for target, command in [("-1", "downgrade"), ("head", "upgrade")] * 2:
        migrate(url, target, command)
        trial.fault_over()
        trial.wait_for_polls(*ids, more=2)

    trial.end()
    assert "raised unexpected" not in trial.deployment.logs()
