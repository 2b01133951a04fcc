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
# An error reply of the broker is a lost connection, too: no reply ends a worker.
broker_channel_error_retry = True
# More than can publish at once: anyio's 40 threads and the consumer. After a lost connection
# Celery's mingle does not wait for a free one, and an empty pool would end the worker.
broker_pool_limit = 64


def _redis_transport() -> dict[str, Any]:
    return {
        # `ack_emulation` stays on: it redelivers the `track` of a killed worker.
        "visibility_timeout": 60,
        # Each is a list. A shop's app may have any of the ten steps; kombu's default is four.
        "priority_steps": list(range(10)),
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 20,
        # Not the default keys, which other Celery apps on this Redis share: their tasks may run
        # longer than our timeout, and our sweep would send them twice.
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
        # A publish returns when the broker has the message on disk. Without this, an event of the
        # `celery` sink would be marked delivered although the connection was broken.
        "confirm_publish": True,
        "connect_timeout": 5,
        "read_timeout": 10,
        "write_timeout": 10,
    }


broker_transport_options = (
    _redis_transport() if broker_url.startswith(("redis", "rediss")) else _amqp_transport()
)

# The exchange and routing key that Celery itself gives to a queue known by its name alone. A
# shop's client declares it so, and RabbitMQ refuses a second declaration that differs.
task_queues = tuple(
    Queue(name, Exchange(name, type="direct"), routing_key=name) for name in OWN_QUEUES
)
task_default_queue = "payment-sessions"
task_routes = {
    "payment_sessions.poll": {"queue": "payment-sessions-polls"},
    "payment_sessions.relay": {"queue": "payment-sessions-events"},
    "payment_sessions.retry_refused": {"queue": "payment-sessions-events"},
}
task_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
task_store_errors_even_if_ignored = False
# No results, so nothing expires: otherwise beat would send `celery.backend_cleanup` every day.
result_expires = None
task_publish_retry_policy = {"max_retries": 2, "interval_start": 0, "interval_max": 0.2}

worker_pool = "threads"
worker_consumer = "worker.celery_app.consumer:ValidatingConsumer"
worker_concurrency = 64
worker_prefetch_multiplier = 1
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_send_task_events = True
# Not Celery's default, by which another app on this broker could stop our consumers. The exchange
# of events stays the default: so one Flower sees the workers of all apps.
control_exchange = "payment-sessions"
worker_cancel_long_running_tasks_on_connection_loss = False
# Its restoring runs in the pool's threads, but only the consumer may use RabbitMQ's connection.
# With it on, a worker received nothing more after a reconnection.
worker_enable_prefetch_count_reduction = False

beat_scheduler = "worker.scheduler:SessionScheduler"
beat_max_loop_interval = 1
beat_schedule = {
    "purge": {"task": "payment_sessions.purge", "schedule": crontab(minute="*/10")},
}
