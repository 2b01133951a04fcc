"""Task events are published together, at an interval and when the worker ends."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.events import EventDispatcher
from kombu import Connection, Queue
from kombu.asynchronous import Hub
from kombu.simple import SimpleQueue

from tests.support.eventually import eventually
from worker.celery_app.bootsteps import EventFlushStep


@pytest.fixture
def connection() -> Iterator[Connection]:
    with Connection("memory://") as opened:
        yield opened


@pytest.fixture
def dispatcher(connection: Connection) -> EventDispatcher:
    app = Celery("test", set_as_current=False)
    return app.events.Dispatcher(connection, buffer_group=["task"], on_send_buffered=pytest.fail)


@pytest.fixture
def published(connection: Connection, dispatcher: EventDispatcher) -> SimpleQueue:
    events = Queue("seen", dispatcher.exchange, routing_key="task.multi", auto_delete=False)
    return connection.SimpleQueue(events)


def test_events_wait_for_the_interval_and_the_rest_for_the_end(
    dispatcher: EventDispatcher, published: SimpleQueue
):
    consumer, hub = SimpleNamespace(event_dispatcher=dispatcher), Hub()
    step = EventFlushStep(consumer)
    step.register_with_event_loop(consumer, hub)

    for number in range(500):
        dispatcher.send("task-received", uuid=str(number))
    assert published.qsize() == 0
    eventually(lambda: hub.fire_timers() and published.qsize())
    assert len(published.get_nowait().payload) == 500

    dispatcher.send("task-succeeded", uuid="last")
    step.shutdown(consumer)
    assert [event["uuid"] for event in published.get_nowait().payload] == ["last"]
    hub.close()


def test_a_worker_without_events_has_nothing_to_flush():
    consumer, hub = SimpleNamespace(event_dispatcher=None), Hub()
    step = EventFlushStep(consumer)
    step.register_with_event_loop(consumer, hub)
    step.shutdown(consumer)

    assert hub.timer.queue == []
    hub.close()
