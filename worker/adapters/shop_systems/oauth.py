"""OAuth2 client credentials: one access token for everybody, in memory only, renewed in time."""

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

# Renewed so long before its end that no request under way carries a token that is over.
_MARGIN_SECONDS = 60.0
# RFC 6749 only recommends that the server says how long a token is good for.
_UNSAID_SECONDS = 300.0
# A longer life is asked about again: what a server names may be no time at all.
_LONGEST_SECONDS = 86_400.0
_FIRST_WAIT_SECONDS = 2.0
# Commerce Layer allows 30 requests for tokens a minute, all processes together.
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What an access token is asked for with; `credentials` names the settings it comes from."""

    url: str
    fields: Mapping[str, str] = field(repr=False)
    as_form: bool
    credentials: str


class AccessTokens:
    """Asked for by one at a time. After a failure nobody asks for a while, whoever wants one."""

    def __init__(
        self, client: httpx.AsyncClient, grant: TokenRequest, *, monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._grant = grant
        self._monotonic = monotonic
        self._asking = anyio.Lock()
        self._token: str | None = None
        self._good_until = 0.0
        self._failures = 0
        self._wait_until = 0.0

    async def token(self) -> str:
        """Return an access token that is good for a while.

        Raises:
            DeliveryError: none was granted; the whole sink is to wait.
        """
        async with self._asking:
            if self._token is not None and self._monotonic() < self._good_until:
                return self._token
            left = self._wait_until - self._monotonic()
            if left > 0:
                raise _waits("no access token yet", left)
            return await self._ask()

    def drop(self, token: str) -> None:
        """Forget a token that was refused, unless another one has taken its place."""
        if token == self._token:
            self._token = None

    async def _ask(self) -> str:
        try:
            status, headers, body = await exchange(
                self._client, "POST", self._grant.url, content=self._content(), headers=self._type()
            )
        except DeliveryError as error:
            raise self._failed(f"no access token: {error}", None) from None
        if status in {400, 401, 403}:
            problem = f"no access token: HTTP {status}: check {self._grant.credentials}"
            raise self._failed(problem, None)
        granted = _granted(body) if status == httpx.codes.OK else None
        if granted is None:
            asked = asked_to_wait(headers)
            raise self._failed(f"no access token: HTTP {status}", asked)
        token, seconds = granted
        self._token, self._failures = token, 0
        self._good_until = self._monotonic() + seconds - min(_MARGIN_SECONDS, seconds / 10)
        return token

    def _failed(self, problem: str, asked: timedelta | None) -> DeliveryError:
        backoff = min(_FIRST_WAIT_SECONDS * 2.0**self._failures, _LONGEST_WAIT_SECONDS)
        self._failures = min(self._failures + 1, 10)
        seconds = max(backoff, asked.total_seconds() if asked else 0.0)
        self._wait_until = self._monotonic() + seconds
        return _waits(problem, seconds)

    def _content(self) -> bytes:
        if self._grant.as_form:
            return str(httpx.QueryParams(self._grant.fields)).encode()
        return json.dumps(dict(self._grant.fields)).encode()

    def _type(self) -> dict[str, str]:
        kind = "application/x-www-form-urlencoded" if self._grant.as_form else "application/json"
        return {"Accept": "application/json", "Content-Type": kind}


def _waits(problem: str, seconds: float) -> DeliveryError:
    return DeliveryError(problem, refusal=Refusal.PAUSE, asked=timedelta(seconds=seconds))


def _granted(body: bytes) -> tuple[str, float] | None:
    """The token and its seconds (RFC 6749, 5.1); None where there is no sendable token."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    token = document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        return None
    seconds = document.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        seconds = _UNSAID_SECONDS
    return token, float(min(seconds, _LONGEST_SECONDS))
