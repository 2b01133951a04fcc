"""A periodic entry per session: RedBeat keeps them in Redis, and its beat sends each when due.

The entry is deleted when the session has ended. It fires even if the previous poll is not done.
Run as a program it creates an entry for every session.
"""

from __future__ import annotations

from celery import Celery
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry

from benchmarks.baselines.reading import INTERVAL_SECONDS, REDIS_URL, read_and_record, tracked_ids

app = Celery("redbeat", broker=REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue="redbeat-baseline",
    broker_connection_retry_on_startup=True,
    worker_send_task_events=True,
    beat_scheduler="redbeat.RedBeatScheduler",
    # New entries wait this long at most. Beat's lock lasts five times that by default: one tick
    # with many entries takes longer, and beat then ends.
    beat_max_loop_interval=1,
    redbeat_lock_timeout=300,
)


def add_entry(session_id: str) -> None:
    """Poll it every few seconds from now on."""
    every = schedule(run_every=INTERVAL_SECONDS, app=app)
    RedBeatSchedulerEntry(session_id, "redbeat.poll", every, args=[session_id], app=app).save()


@app.task(name="redbeat.poll")
def poll(session_id: str) -> None:
    """Read the session and write what it says; delete its entry once it has ended."""
    if read_and_record(session_id):
        RedBeatSchedulerEntry(session_id, app=app).delete()


if __name__ == "__main__":
    for session_id in tracked_ids():
        add_entry(session_id)
