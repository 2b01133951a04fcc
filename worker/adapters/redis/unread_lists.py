"""Lists that a shop's messages lie in and no worker reads: its app has another setting than ours.

They are looked for by name. SCAN and KEYS would walk through everything that is in Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import redis

QUEUE = "payment-sessions"
# kombu's transport options of these names: what separates a queue from a priority step, and what
# stands before every key. `sep` is kombu's own.
_SEP = "\x06\x16"
_OTHER_SEPS = (
    ":",
    "::",
    "-",
    "--",
    "_",
    "__",
    ".",
    "..",
    "/",
    "|",
    "#",
    "@",
    ",",
    ";",
    "~",
    " ",
    "",
)
_STEPS = range(1, 10)
_PREFIX_NAMES = (
    *("celery", "kombu", "broker", "queue", "queues", "tasks", "redis", "app", "shop", "store"),
    *("django", "web", "backend", "worker", "prod", "production", "staging", "test", "dev"),
)
_PREFIX_ENDS = ("", ":", "::", "_", "-", ".", "/")
_OTHER_QUEUES = ("payment_sessions", "payment-session", "payment_session", "paymentsessions")


class UnreadList(NamedTuple):
    """A list with messages, and what is to be changed in the shop's app."""

    key: str
    messages: int
    change: str


def unread_lists(client: redis.Redis) -> list[UnreadList]:
    """Return the lists with messages that no worker reads, of those that may be looked at.

    Raises:
        redis.RedisError: Redis cannot be asked.
    """
    groups = (_other_seps(), _prefixed(), _other_queues())
    return [found for names in groups for found in _look_at(client, dict(names))]


def _look_at(client: redis.Redis, changes: dict[str, str]) -> Iterator[UnreadList]:
    if not _may_read(client, next(iter(changes))):
        return
    with client.pipeline(transaction=False) as pipe:
        for key in changes:
            pipe.llen(key)
        # What has such a name and is no list is not a queue.
        lengths = pipe.execute(raise_on_error=False)
    for key, length in zip(changes, lengths, strict=True):
        if isinstance(length, int) and length:
            yield UnreadList(key, length, changes[key])


def _may_read(client: redis.Redis, key: str) -> bool:
    """Return whether this user may: one refusal of the group in ACL LOG is enough."""
    try:
        client.llen(key)
    except redis.exceptions.NoPermissionError:
        return False
    except redis.ResponseError:
        # It is no list.
        return True
    return True


def _other_seps() -> Iterator[tuple[str, str]]:
    for sep, step in product(_OTHER_SEPS, _STEPS):
        yield f"{QUEUE}{sep}{step}", f"remove `sep` ({sep!r}) from broker_transport_options"


def _prefixed() -> Iterator[tuple[str, str]]:
    for name, end in product(_PREFIX_NAMES, _PREFIX_ENDS):
        change = f"remove `global_keyprefix` ({name + end!r}) from broker_transport_options"
        for key in (QUEUE, *(f"{QUEUE}{_SEP}{step}" for step in _STEPS)):
            yield f"{name}{end}{key}", change


def _other_queues() -> Iterator[tuple[str, str]]:
    for name in _OTHER_QUEUES:
        yield name, f"send to the queue {QUEUE}"
