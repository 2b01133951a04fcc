"""Deploys under load: the schema moves while payment sessions are polled."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.databases import migrate
from tests.support.trial import Trial

ROOT = Path(__file__).parents[2]
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

    for _ in range(2):
        migrate(url, "-1", "downgrade")
        # What this release needs may be gone: that counts as a database that is away.
        trial.outage(2)
        migrate(url)
        trial.fault_over()
        trial.wait_for_polls(*ids, more=2)

    trial.end()
    assert "raised unexpected" not in trial.deployment.logs()


@pytest.mark.slow
def test_the_release_before_the_newest_migration_runs_on_until_it_is_replaced(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    unpack_previous_release(tmp_path / "previous")
    with monkeypatch.context() as elsewhere:
        # Celery imports from the working folder first.
        elsewhere.chdir(tmp_path / "previous")
        old_worker, old_beat = trial.start("worker", "beat")
    ids = trial.put_in_flight()
    trial.klarna.release()
    trial.wait_for_polls(*ids, more=2)

    trial.start("worker", "beat")
    for process in (old_beat, old_worker):
        trial.processes.remove(process)
        assert process.stop() == 0
    trial.fault_over()
    trial.end()
    assert " raised " not in trial.deployment.logs(), "no task failed"


def unpack_previous_release(folder: Path) -> None:
    """The code as it was before the newest migration was written, by this repository's history."""
    newest = max((ROOT / "migrations" / "versions").glob("*.py"))
    added = git("log", "--diff-filter=A", "--format=%H", "--", str(newest)).strip()
    if not added:
        pytest.skip("only a checkout with its history holds the previous release")
    archive = folder.with_suffix(".tar")
    git("archive", "--output", str(archive), f"{added}^", "worker", "config")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout if ran.returncode == 0 else ""
