"""Celery's configuration, complete: plain `celery -A worker worker|beat|flower` is right."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab
from kombu import Exchange, Queue

from config.settings import OWN_QUEUES, BrokerSettings, load

_settings = load(BrokerSettings)

broker_url = _settings.effective_broker_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# More than ever publish at once, which are anyio's 40 threads and the consumer: after a lost
# connection Celery's mingle waits for no other to be free, and would end the worker.
broker_pool_limit = 64


def _redis_transport() -> dict[str, Any]:
    return {
        # `ack_emulation` stays on: it is what brings a killed worker's `track` back.
        "visibility_timeout": 60,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 20,
        # Apart from other Celery apps on this Redis: theirs may run longer than our timeout,
        # and a sweep of the shared default keys would send their tasks twice.
        "unacked_key": "payment-sessions:unacked",
        "unacked_index_key": "payment-sessions:unacked_index",
        "unacked_mutex_key": "payment-sessions:unacked_mutex",
        "max_connections": 200,
        "socket_connect_timeout": 5,
        "socket_timeout": 10,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": False,
    }


def _amqp_transport() -> dict[str, Any]:
    return {
        # A publish ends when the broker has the message on disk: the `celery` sink's event is
        # called delivered then, and a broken connection would tell nobody otherwise.
        "confirm_publish": True,
        "connect_timeout": 5,
        "read_timeout": 10,
        "write_timeout": 10,
    }


broker_transport_options = (
    _redis_transport() if broker_url.startswith(("redis", "rediss")) else _amqp_transport()
)

# Spelled out as Celery sojourns a queue it was only told the name of: a shop's client, which
# knows no more, then declares the same on brokers that compare.
task_queues = tuple(
    Queue(name, Exchange(name, type="direct"), routing_key=name) for name in OWN_QUEUES
)
task_default_queue = "payment-sessions"
task_routes = {
    "payment_sessions.poll": {"queue": "payment-sessions-polls"},
    "payment_sessions.relay": {"queue": "payment-sessions-events"},
}
task_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
task_store_errors_even_if_ignored = False
task_publish_retry_policy = {"max_retries": 2, "interval_start": 0, "interval_max": 0.2}

worker_pool = "threads"
worker_consumer = "worker.tasks:ValidatingConsumer"
worker_concurrency = 64
worker_prefetch_multiplier = 1
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_send_task_events = True
worker_cancel_long_running_tasks_on_connection_loss = False
# Its way back runs in the pool's threads, and RabbitMQ's connection is the consumer's alone. With
# it on, a worker once took nothing more after a reconnection.
worker_enable_prefetch_count_reduction = False

beat_scheduler = "worker.scheduler:SessionScheduler"
beat_max_loop_interval = 1
beat_schedule = {
    "purge": {"task": "payment_sessions.purge", "schedule": crontab(minute="*/10")},
}
