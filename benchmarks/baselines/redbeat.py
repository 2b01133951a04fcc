"""A periodic entry per session: RedBeat keeps them in Redis, and its beat sends each when due.

The entry goes when the session has ended. It fires whether or not the poll before has been done.
Run as a program it makes an entry for every session there is.
"""

from __future__ import annotations

from celery import Celery
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry

from benchmarks.baselines.reading import INTERVAL_SECONDS, REDIS_URL, followed, read_and_record

app = Celery("redbeat", broker=REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue="redbeat-baseline",
    broker_connection_retry_on_startup=True,
    worker_send_task_events=True,
    beat_scheduler="redbeat.RedBeatScheduler",
    # Entries that come meanwhile wait no longer; the lock of a beat is five times that, which one
    # tick of many entries outlasts, and beat then ends.
    beat_max_loop_interval=1,
    redbeat_lock_timeout=300,
)


def follow(session_id: str) -> None:
    """Have it polled every few seconds from now on."""
    every = schedule(run_every=INTERVAL_SECONDS, app=app)
    RedBeatSchedulerEntry(session_id, "redbeat.poll", every, args=[session_id], app=app).save()


@app.task(name="redbeat.poll")
def poll(session_id: str) -> None:
    """Read the session and write what it says; its entry goes once it has ended."""
    if read_and_record(session_id):
        RedBeatSchedulerEntry(session_id, app=app).delete()


if __name__ == "__main__":
    for followed_id in followed():
        follow(followed_id)
