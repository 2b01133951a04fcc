"""Requests to one shop system, with its access token; what one answers is the caller's to judge."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from worker.adapters.http_client import asked_to_wait
from worker.adapters.shop_systems.http import exchange
from worker.adapters.shop_systems.oauth import AccessTokens
from worker.domain.deliveries import Refusal
from worker.services.errors import DeliveryError

# A limit whose end is not told. Commerce Layer counts in windows of ten seconds.
_LIMITED_WAIT = timedelta(seconds=10)
# Credentials that are good but may not: somebody has to change something.
_FORBIDDEN_WAIT = timedelta(seconds=60)
_UNAUTHORIZED, _FORBIDDEN, _LIMITED, _UNAVAILABLE, _ERRORS = 401, 403, 429, 503, 500
# What else may pass by itself: a time-out, a conflict, a lock, too early.
_PASSING = {408, 409, 423, 425}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is the caller's to judge: 2xx, or a 4xx about this one request."""

    status: int
    document: Any

    @property
    def taken(self) -> bool:
        """Whether it did what it was asked to do."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110: successful


class ShopSystem:
    """Requests under `base_url` with an access token; `media_type` is that of both bodies."""

    def __init__(
        self, client: httpx.AsyncClient, tokens: AccessTokens, *, base_url: str, media_type: str
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._base_url = base_url
        self._media_type = media_type

    async def authorize(self) -> None:
        """Have an access token, whatever it is needed for.

        Raises:
            DeliveryError: none is granted.
        """
        await self._tokens.token()

    async def ask(self, method: str, path: str, document: object = None) -> Reply:
        """Return what the system says; an access token that it refuses is renewed once.

        Raises:
            DeliveryError: it says nothing, or to come again.
        """
        token = await self._tokens.token()
        status, headers, body = await self._send(method, path, document, token)
        if status == _UNAUTHORIZED:
            self._tokens.drop(token)
            token = await self._tokens.token()
            status, headers, body = await self._send(method, path, document, token)
        _raise_for_status(status, headers)
        return Reply(status, _json(body))

    async def _send(
        self, method: str, path: str, document: object, token: str
    ) -> tuple[int, httpx.Headers, bytes]:
        headers = {"Accept": self._media_type, "Authorization": f"Bearer {token}"}
        content = None
        if document is not None:
            headers["Content-Type"] = self._media_type
            content = json.dumps(document).encode()
        url = f"{self._base_url}{path}"
        return await exchange(self._client, method, url, content=content, headers=headers)


def _raise_for_status(status: int, headers: httpx.Headers) -> None:
    asked = asked_to_wait(headers)
    if status == _LIMITED:
        raise DeliveryError("HTTP 429", refusal=Refusal.PAUSE, asked=asked or _LIMITED_WAIT)
    if status == _UNAVAILABLE and asked:
        raise DeliveryError("HTTP 503", refusal=Refusal.PAUSE, asked=asked)
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        problem = f"HTTP {status}: check what the access token's client may do"
        # Refused is the client itself, or just what it asked of this one order: nobody else waits.
        refusal = Refusal.PAUSE if status == _UNAUTHORIZED else Refusal.RETRY
        raise DeliveryError(problem, refusal=refusal, asked=_FORBIDDEN_WAIT)
    if status >= _ERRORS or status in _PASSING:
        raise DeliveryError(f"HTTP {status}", asked=asked)
    if not 200 <= status < 300 and status < 400:  # noqa: PLR2004 - RFC 9110: redirection
        raise DeliveryError(f"HTTP {status}: redirects are not followed")


def _json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
