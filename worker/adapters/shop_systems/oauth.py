"""OAuth 2 client credentials: one shared access token, in memory, renewed before it expires."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import httpx

from worker.adapters.http_client import asked_to_wait
from worker.adapters.shop_systems.http import exchange
from worker.domain.deliveries import Refusal
from worker.services.errors import DeliveryError

# Renewed this long before it expires, so that no request under way carries an expired token.
_MARGIN_SECONDS = 60.0
# RFC 6749 recommends `expires_in`, but does not require it.
_DEFAULT_SECONDS = 300.0
# A token is renewed after a day at the latest, whatever `expires_in` says.
_LONGEST_SECONDS = 86_400.0
_FIRST_WAIT_SECONDS = 2.0
# Commerce Layer allows 30 token requests a minute, for all processes together. No Retry-After makes
# the wait longer: every authorization waits for this token.
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """How an access token is requested; `credentials` names the settings, for error messages."""

    url: str
    fields: Mapping[str, str] = field(repr=False)
    as_form: bool
    credentials: str


class AccessTokens:
    """Provides the access token. One request at a time; after a failure, none for a while."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        token_request: TokenRequest,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        self._client = client
        self._token_request = token_request
        self._monotonic = monotonic
        self._lock = anyio.Lock()
        self._token: str | None = None
        self._valid_until = 0.0
        self._failures = 0
        self._wait_until = 0.0

    async def token(self) -> str:
        """Return an access token that is valid for a while.

        Raises:
            DeliveryError: no token was granted; it pauses the sink.
        """
        async with self._lock:
            if self._token is not None and self._monotonic() < self._valid_until:
                return self._token
            left = self._wait_until - self._monotonic()
            if left > 0:
                raise _paused("no access token yet", left)
            return await self._request()

    def invalidate(self, token: str) -> None:
        """Drop a refused token, unless it has been replaced already."""
        if token == self._token:
            self._token = None

    async def _request(self) -> str:
        try:
            status, headers, body = await exchange(
                self._client,
                "POST",
                self._token_request.url,
                content=self._content(),
                headers=self._headers(),
            )
        except DeliveryError as error:
            raise self._failed(f"no access token: {error}", None) from None
        if status in {400, 401, 403}:
            problem = f"no access token: HTTP {status}: check {self._token_request.credentials}"
            raise self._failed(problem, None)
        granted = _granted(body) if status == httpx.codes.OK else None
        if granted is None:
            asked = asked_to_wait(headers)
            raise self._failed(f"no access token: HTTP {status}", asked)
        token, seconds = granted
        self._token, self._failures = token, 0
        self._valid_until = self._monotonic() + seconds - min(_MARGIN_SECONDS, seconds / 10)
        return token

    def _failed(self, problem: str, asked: timedelta | None) -> DeliveryError:
        backoff = min(_FIRST_WAIT_SECONDS * 2.0**self._failures, _LONGEST_WAIT_SECONDS)
        self._failures = min(self._failures + 1, 10)
        wanted = max(backoff, asked.total_seconds() if asked else 0.0)
        seconds = min(wanted, _LONGEST_WAIT_SECONDS)
        self._wait_until = self._monotonic() + seconds
        return _paused(problem, seconds)

    def _content(self) -> bytes:
        if self._token_request.as_form:
            return str(httpx.QueryParams(self._token_request.fields)).encode()
        return json.dumps(dict(self._token_request.fields)).encode()

    def _headers(self) -> dict[str, str]:
        kind = (
            "application/x-www-form-urlencoded"
            if self._token_request.as_form
            else "application/json"
        )
        return {"Accept": "application/json", "Content-Type": kind}


def _paused(problem: str, seconds: float) -> DeliveryError:
    return DeliveryError(problem, refusal=Refusal.PAUSE, asked=timedelta(seconds=seconds))


def _granted(body: bytes) -> tuple[str, float] | None:
    """Return the token and its lifetime (RFC 6749, 5.1), or None without a usable token."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    token = document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        return None
    seconds = document.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        seconds = _DEFAULT_SECONDS
    return token, float(min(seconds, _LONGEST_SECONDS))
