"""Replies that are held until somebody releases them."""

import asyncio
from dataclasses import dataclass
from typing import Any

from devkit.sandbox import clock
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.traffic import Changes


@dataclass(slots=True)
class HeldReply:
    """One held reply; it goes out when `released` is set."""

    exchange: Exchange
    released: asyncio.Event
    since: float


class HeldReplies:
    """The held replies, oldest first. A client that leaves takes its reply out."""

    def __init__(self, changes: Changes) -> None:
        self._held: dict[int, HeldReply] = {}
        self._changes = changes

    async def hold(self, exchange: Exchange) -> bool:
        """Wait for the release; False if the client left before it."""
        reply = HeldReply(exchange, asyncio.Event(), clock.monotonic())
        self._held[exchange.number] = reply
        self._changes.announce()
        try:
            return await _released_first(reply)
        finally:
            self._held.pop(exchange.number, None)
            self._changes.announce()

    def release(
        self,
        *,
        hold_id: int | None = None,
        session_id: str | None = None,
        account: str | None = None,
        count: int | None = None,
    ) -> int:
        """Release the oldest `count` (or all) that match what is given; return how many."""
        matching = self._matching(hold_id, session_id, account)[:count]
        for reply in matching:
            reply.released.set()
            del self._held[reply.exchange.number]
        return len(matching)

    def listing(self, *, session_id: str | None = None, account: str | None = None) -> list[Any]:
        """Return the held replies, oldest first; `hold_id` is the number of the request."""
        return [
            {
                "hold_id": reply.exchange.number,
                "session_id": reply.exchange.session_id or None,
                "method": reply.exchange.method,
                "path": reply.exchange.path,
                "held_seconds": clock.monotonic() - reply.since,
            }
            for reply in self._matching(None, session_id, account)
        ]

    def _matching(
        self, hold_id: int | None, session_id: str | None, account: str | None
    ) -> list[HeldReply]:
        return [
            reply
            for number, reply in self._held.items()
            if hold_id in {None, number}
            and session_id in {None, reply.exchange.session_id}
            and (account is None or _is_of(reply.exchange, account))
        ]


def _is_of(exchange: Exchange, account: str) -> bool:
    return exchange.account is not None and exchange.account.name == account


async def _released_first(reply: HeldReply) -> bool:
    left = asyncio.ensure_future(reply.exchange.client_left())
    released = asyncio.ensure_future(reply.released.wait())
    try:
        await asyncio.wait({left, released}, return_when=asyncio.FIRST_COMPLETED)
        return reply.released.is_set()
    finally:
        left.cancel()
        released.cancel()
