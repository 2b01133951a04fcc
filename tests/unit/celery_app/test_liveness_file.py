"""PROGRESS_FILE is touched while checks in the pool's threads succeed, and only then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import signals
from celery.concurrency.thread import TaskPool

from tests.support.eventually import eventually
from worker.celery_app.liveness_file import LivenessFile, ReceivedTasks, touch


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    started = TaskPool(limit=1)
    started.start()
    yield started
    started.stop()


def times_written(pool: TaskPool, file: Path, *results: bool) -> int:
    """Let it check until the results are used up; return how often it wrote the file."""
    left, written, used_up = list(results), [], threading.Event()

    def is_live() -> bool:
        written.append(file.exists())
        file.unlink(missing_ok=True)
        if not left:
            used_up.set()
            return False
        return left.pop(0)

    watch = LivenessFile(file, pool, is_live, every_seconds=0.001)
    watch.start()
    assert used_up.wait(10)
    watch.stop()
    return written.count(True)


def test_it_is_written_at_the_start_and_after_each_check_that_succeeds(
    pool: TaskPool, tmp_path: Path
):
    assert times_written(pool, tmp_path / "progress", True, False, True) == 3


def test_a_pool_that_is_stuck_lets_it_age(pool: TaskPool, tmp_path: Path):
    """A check waits for a free thread, as every task does."""
    stuck, busy, checked = threading.Event(), threading.Event(), threading.Event()
    file = tmp_path / "progress"

    def work() -> None:
        busy.set()
        stuck.wait(30)

    def is_live() -> bool:
        checked.set()
        return True

    pool.apply_async(work)
    assert busy.wait(10)
    watch = LivenessFile(file, pool, is_live, every_seconds=0.001)
    watch.start()
    file.unlink()
    assert not checked.wait(0.2)
    assert not file.exists()
    stuck.set()
    eventually(file.exists)
    watch.stop()


def test_a_check_that_raises_is_no_progress_and_the_next_one_counts(pool: TaskPool, tmp_path: Path):
    file, failed = tmp_path / "progress", threading.Event()

    def is_live() -> bool:
        if not failed.is_set():
            file.unlink()
            failed.set()
            raise ValueError("once")
        return True

    watch = LivenessFile(file, pool, is_live, every_seconds=0.001)
    watch.start()
    assert failed.wait(10)
    eventually(file.exists)
    watch.stop()


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path):
    """The probe then sees no file; the work goes on."""
    touch(tmp_path / "missing" / "progress")
    touch(None)

    assert list(tmp_path.iterdir()) == []


def test_progress_counts_the_tasks_that_celery_says_were_received():
    received = ReceivedTasks()
    signals.task_received.send(sender=None, request=None)
    received.start()
    signals.task_received.send(sender=None, request=None)
    signals.task_received.send(sender=None, request=None)
    received.stop()
    signals.task_received.send(sender=None, request=None)

    assert received.count == 2
