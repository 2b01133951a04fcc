"""The progress file: young while looks succeed in the pool's own threads, and only then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.concurrency.thread import TaskPool

from tests.support.eventually import eventually
from worker.celery_app.liveness_file import LivenessFile, touch


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    started = TaskPool(limit=1)
    started.start()
    yield started
    started.stop()


def looks(pool: TaskPool, file: Path, *answers: bool) -> int:
    """Let a watch look until the answers are used up; returns how often the file was written."""
    left, written, used_up = list(answers), [], threading.Event()

    def look() -> bool:
        written.append(file.exists())
        file.unlink(missing_ok=True)
        if not left:
            used_up.set()
            return False
        return left.pop(0)

    watch = LivenessFile(file, pool, look, every_seconds=0.001)
    watch.start()
    assert used_up.wait(10)
    watch.stop()
    return written.count(True)


def test_it_is_written_at_the_start_and_after_each_look_that_saw_progress(
    pool: TaskPool, tmp_path: Path
):
    assert looks(pool, tmp_path / "progress", True, False, True) == 3


def test_a_pool_that_is_stuck_lets_it_age(pool: TaskPool, tmp_path: Path):
    """The look waits for a thread like every task: none is free."""
    stuck, busy, looked = threading.Event(), threading.Event(), threading.Event()
    file = tmp_path / "progress"

    def work() -> None:
        busy.set()
        stuck.wait(30)

    def look() -> bool:
        looked.set()
        return True

    pool.apply_async(work)
    assert busy.wait(10)
    watch = LivenessFile(file, pool, look, every_seconds=0.001)
    watch.start()
    file.unlink()
    assert not looked.wait(0.2)
    assert not file.exists()
    stuck.set()
    eventually(file.exists)
    watch.stop()


def test_a_look_that_fails_is_no_progress_and_the_next_one_counts(pool: TaskPool, tmp_path: Path):
    file, failed = tmp_path / "progress", threading.Event()

    def look() -> bool:
        if not failed.is_set():
            file.unlink()
            failed.set()
            raise ValueError("once")
        return True

    watch = LivenessFile(file, pool, look, every_seconds=0.001)
    watch.start()
    assert failed.wait(10)
    eventually(file.exists)
    watch.stop()


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path):
    """The probe then sees no file; the work goes on."""
    touch(tmp_path / "missing" / "progress")
    touch(None)

    assert list(tmp_path.iterdir()) == []
