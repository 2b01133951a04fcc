"""The obvious solution: a Celery task per poll, which retries itself with a countdown.

It keeps its HTTP connections and its database connections; it has no lease, no batches, no events.
Run as a program it starts to add_entry every session there is.
"""

from __future__ import annotations

from celery import Celery, Task

from benchmarks.baselines.reading import INTERVAL_SECONDS, REDIS_URL, read_and_record, tracked_ids

app = Celery("prefork", broker=REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue="prefork-baseline",
    broker_connection_retry_on_startup=True,
    worker_send_task_events=True,
)


@app.task(bind=True, name="prefork.poll", max_retries=None)
def poll(self: Task, session_id: str) -> None:
    """Read the session, write what it says, and retry unless it has ended."""
    if not read_and_record(session_id):
        raise self.retry(countdown=INTERVAL_SECONDS)


if __name__ == "__main__":
    for session_id in tracked_ids():
        poll.delay(session_id)
