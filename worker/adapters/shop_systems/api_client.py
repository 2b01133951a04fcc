"""Requests to a shop system with an access token; the caller interprets the answers."""

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

# For a 429 without Retry-After. Commerce Layer counts in windows of ten seconds.
_LIMITED_WAIT = timedelta(seconds=10)
# The credentials are valid but lack a right: somebody has to change something.
_FORBIDDEN_WAIT = timedelta(seconds=60)
_UNAUTHORIZED, _FORBIDDEN, _LIMITED, _UNAVAILABLE, _ERRORS = 401, 403, 429, 503, 500
# Also temporary: timeout, conflict, locked, too early.
_TEMPORARY = {408, 409, 423, 425}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer for the caller to interpret: 2xx, or a 4xx about this one request."""

    status: int
    document: Any

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110: successful


class ShopSystem:
    """Sends requests below `base_url`; `media_type` is that of requests and answers."""

    def __init__(
        self, client: httpx.AsyncClient, tokens: AccessTokens, *, base_url: str, media_type: str
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._base_url = base_url
        self._media_type = media_type

    async def authorize(self) -> None:
        """Get an access token, as a check of the credentials.

        Raises:
            DeliveryError: no token was granted.
        """
        await self._tokens.token()

    async def ask(self, method: str, path: str, document: object = None) -> Reply:
        """Send a request and return the answer; a refused access token is renewed once.

        Raises:
            DeliveryError: there was no answer, or one that asks to try later.
        """
        token = await self._tokens.token()
        status, headers, body = await self._send(method, path, document, token)
        if status == _UNAUTHORIZED:
            self._tokens.invalidate(token)
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
        # A 401 concerns every request, so the sink is paused. A 403 may concern this order only.
        refusal = Refusal.PAUSE if status == _UNAUTHORIZED else Refusal.RETRY
        raise DeliveryError(problem, refusal=refusal, asked=_FORBIDDEN_WAIT)
    if status >= _ERRORS or status in _TEMPORARY:
        raise DeliveryError(f"HTTP {status}", asked=asked)
    if not 200 <= status < 300 and status < 400:  # noqa: PLR2004 - RFC 9110: redirection
        raise DeliveryError(f"HTTP {status}: redirects are not followed")


def _json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
