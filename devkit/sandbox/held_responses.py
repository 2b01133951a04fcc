"""Replies that are held until somebody releases them."""

import asyncio
from dataclasses import dataclass
from typing import Any

from devkit.sandbox import clock
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.traffic import Changes


@dataclass(slots=True)
class HeldResponse:
    """One held response; it goes out when `released` is set."""

    exchange: Exchange
    released: asyncio.Event
    since: float


class HeldResponses:
    """The held responses, oldest first. A client that leaves takes its response out."""

    def __init__(self, changes: Changes) -> None:
        self._held: dict[int, HeldResponse] = {}
        self._changes = changes

    async def hold(self, exchange: Exchange) -> bool:
        """Wait for the release; False if the client left before it."""
        response = HeldResponse(exchange, asyncio.Event(), clock.monotonic())
        self._held[exchange.number] = response
        self._changes.announce()
        try:
            return await _released_first(response)
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
        for response in matching:
            response.released.set()
            del self._held[response.exchange.number]
        return len(matching)

    def listing(self, *, session_id: str | None = None, account: str | None = None) -> list[Any]:
        """Return the held responses, oldest first; `hold_id` is the number of the request."""
        return [
            {
                "hold_id": response.exchange.number,
                "session_id": response.exchange.session_id or None,
                "method": response.exchange.method,
                "path": response.exchange.path,
                "held_seconds": clock.monotonic() - response.since,
            }
            for response in self._matching(None, session_id, account)
        ]

    def _matching(
        self, hold_id: int | None, session_id: str | None, account: str | None
    ) -> list[HeldResponse]:
        return [
            response
            for number, response in self._held.items()
            if hold_id in {None, number}
            and session_id in {None, response.exchange.session_id}
            and (account is None or _is_of(response.exchange, account))
        ]


def _is_of(exchange: Exchange, account: str) -> bool:
    return exchange.account is not None and exchange.account.name == account


async def _released_first(response: HeldResponse) -> bool:
    left = asyncio.ensure_future(response.exchange.client_left())
    released = asyncio.ensure_future(response.released.wait())
    try:
        await asyncio.wait({left, released}, return_when=asyncio.FIRST_COMPLETED)
        return response.released.is_set()
    finally:
        left.cancel()
        released.cancel()
