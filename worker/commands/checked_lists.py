"""check's look at messages that no worker will ever read."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from config.settings import Settings
from worker.adapters.redis.unread_lists import UnreadList, unread_lists
from worker.commands.findings import Finding


def check_unread_lists(settings: Settings) -> Iterator[Finding]:
    """One line for each list; none where the broker is no Redis, or cannot be reached."""
    url = settings.effective_broker_url
    if not url.startswith(("redis://", "rediss://")):
        return
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            found = unread_lists(client)
    except redis.RedisError:
        # The lines of Redis and the broker say it.
        return
    yield from (Finding("broker", fault_of(each)) for each in found)


def fault_of(unread: UnreadList) -> str:
    """Return what is wrong, and what to change."""
    count = unread.messages
    messages = "1 message waits" if count == 1 else f"{count} messages wait"
    read_by_none = f"in the list {unread.key!r}, which no worker reads"
    return f"{messages} {read_by_none}: in the shop's app, {unread.change}"
