"""One HTTP exchange with a shop system; its failures become delivery errors."""

from __future__ import annotations

import re
from collections.abc import Mapping

import anyio
import httpx

from worker.adapters import http_client
from worker.services.errors import DeliveryError

ANSWER_SECONDS = 8.0
_LONGEST_TEXT = 200
# A word this long may be a token.
_LONG_WORD = re.compile(r"[^\s/]{20,}")


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    content: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, httpx.Headers, bytes]:
    """Return status, headers and body of the answer, whatever the status.

    Raises:
        DeliveryError: there was no complete, readable answer in time.
    """
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            async with client.stream(method, url, content=content, headers=headers) as response:
                body = await http_client.bounded_body(response)
                return response.status_code, response.headers, body
    except TimeoutError:
        raise DeliveryError(f"no answer within {ANSWER_SECONDS:g} s") from None
    except http_client.UnreadableBodyError as error:
        raise DeliveryError(str(error)) from None
    except http_client.CONNECTION_ERRORS as error:
        problem = f"connection failed: {http_client.connection_fault(error)}"
        raise DeliveryError(problem) from None
    except http_client.UNREADABLE_ERRORS as error:
        raise DeliveryError(f"unreadable answer: {type(error).__name__}") from None


def safe_text(text: object) -> str:
    """Return the text of an error, shortened and without words that may be tokens."""
    if not isinstance(text, str):
        return ""
    words = "".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_TEXT])
    return _LONG_WORD.sub("…", words)[:_LONGEST_TEXT].strip()
