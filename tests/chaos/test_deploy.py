"""Deploys under load: the schema moves while payment sessions are polled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.databases import migrate
from tests.support.experiment import Experiment
from tests.support.previous_release import unpack_previous_release

# What a later release may do to a table that this release reads: expand it.
EXPAND = "ALTER TABLE payment_sessions ADD COLUMN of_the_next_release text"
CONTRACT = "ALTER TABLE payment_sessions DROP COLUMN of_the_next_release"


def test_the_table_gets_a_column_and_loses_it_again_under_load(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.track()
    # A statement that was run this often is prepared on its connection.
    experiment.wait_for_polls(*ids, more=6)

    for change in (EXPAND, CONTRACT):
        experiment.deployment.query(change)
        experiment.fault_over()
        experiment.wait_for_polls(*ids, more=2)

    experiment.end()
    assert "raised unexpected" not in experiment.deployment.logs()


@pytest.mark.slow
def test_migrations_go_up_down_and_up_under_load(experiment: Experiment):
    url = experiment.deployment.environment["DATABASE_URL"]
    experiment.start("worker", "beat")
    ids = experiment.track()

    for _ in range(2):
        migrate(url, "-1", "downgrade")
        # What this release needs may be gone: that counts as a database that is away.
        experiment.outage(2)
        migrate(url)
        experiment.fault_over()
        experiment.wait_for_polls(*ids, more=2)

    experiment.end()
    assert "raised unexpected" not in experiment.deployment.logs()


@pytest.mark.slow
def test_the_release_before_the_newest_migration_runs_on_until_it_is_replaced(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    unpack_previous_release(tmp_path / "previous")
    with monkeypatch.context() as elsewhere:
        # Celery imports from the working folder first.
        elsewhere.chdir(tmp_path / "previous")
        old_worker, old_beat = experiment.start("worker", "beat")
    ids = experiment.put_in_flight()
    experiment.klarna.release()
    experiment.wait_for_polls(*ids, more=2)

    experiment.start("worker", "beat")
    for process in (old_beat, old_worker):
        experiment.processes.remove(process)
        assert process.stop() == 0
    experiment.fault_over()
    experiment.end()
    assert " raised " not in experiment.deployment.logs(), "no task failed"
