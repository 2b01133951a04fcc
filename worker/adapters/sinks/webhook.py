"""Delivers events as signed HTTP requests: Standard Webhooks 1.0 with CloudEvents in the body.

Neither URLs nor answers appear in errors: a URL may contain a password of the receiver, and an
answer may repeat what was sent.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio
import httpx
from standardwebhooks import Webhook

from worker.adapters import http_client
from worker.domain.addresses import is_public
from worker.domain.deliveries import WEBHOOK, Refusal
from worker.services.errors import DeliveryError

# Standard Webhooks 1.0 recommends 15 to 30 s. The lease of a delivery is longer.
ANSWER_TIME = timedelta(seconds=15)
# For each process and endpoint, so that an endpoint that hangs does not block others.
IN_FLIGHT = 16
_CONTENT_TYPE = "application/cloudevents+json"
_GONE = 410
# RFC 9110: with Retry-After, these two concern the whole server and others only this request.
_PAUSING = (429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """The address of a webhook, and the secrets that each sign it."""

    sink: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class WebhookSink:
    """Implements the port `Sink` for one endpoint, with its own connections."""

    schedule = WEBHOOK
    in_flight = IN_FLIGHT

    def __init__(
        self,
        endpoint: WebhookEndpoint,
        *,
        context: ssl.SSLContext,
        allow_private: bool,
        now: Callable[[], datetime],
        timeout: timedelta = ANSWER_TIME,
    ) -> None:
        self.name = endpoint.sink
        self._url = endpoint.url
        self._hooks = [Webhook(secret) for secret in endpoint.secrets]
        self._now = now
        self._timeout = timeout.total_seconds()
        self._client = http_client.open_client(
            context=context,
            headers={"Content-Type": _CONTENT_TYPE},
            may_connect=None if allow_private else is_public,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Send the event; any 2xx is success. The body of the answer is not read."""
        body = json.dumps(envelope, separators=(",", ":"))
        try:
            with anyio.fail_after(self._timeout):
                async with self._client.stream(
                    "POST",
                    self._url,
                    content=body.encode(),
                    headers=self._signed(str(envelope["id"]), body),
                ) as response:
                    _raise_for_status(response)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout:g} s") from None
        except http_client.CONNECTION_ERRORS as error:
            raise DeliveryError(_connection_fault(error)) from None
        except http_client.UNREADABLE_ERRORS as error:
            raise DeliveryError(f"unreadable answer: {type(error).__name__}") from None

    def _signed(self, event_id: str, body: str) -> dict[str, str]:
        """Return the headers of this attempt, with a signature for each secret."""
        sent_at = self._now()
        signatures = (hook.sign(event_id, sent_at, body) for hook in self._hooks)
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def _raise_for_status(response: httpx.Response) -> None:
    if response.is_success:
        return
    code = response.status_code
    asked = http_client.asked_to_wait(response.headers)
    if code == _GONE:
        raise DeliveryError("HTTP 410: the endpoint is gone", refusal=Refusal.GONE)
    if code in _PAUSING and asked:
        raise DeliveryError(f"HTTP {code}", refusal=Refusal.PAUSE, asked=asked)
    detail = ": redirects are not followed" if response.is_redirect else ""
    raise DeliveryError(f"HTTP {code}{detail}", asked=asked)


def _connection_fault(error: BaseException) -> str:
    if any(isinstance(each, http_client.AddressRefusedError) for each in _causes(error)):
        return "its address is not a public one: WEBHOOK_ALLOW_PRIVATE"
    return f"connection failed: {http_client.connection_fault(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
