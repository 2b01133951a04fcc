"""The httpx transport over aiohttp: one request on the wire for each call, to the URL as written.

httpx-aiohttp's own passes the URL as text, which aiohttp decodes and quotes again; and aiohttp
repeats a GET whose connection was lost before an answer, which no rate limit counts.
"""

from __future__ import annotations

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from yarl import URL


class ConnectionLostError(aiohttp.ClientError):
    """The connection was lost before the answer; the cause says how."""


async def send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware of a session: turn what aiohttp sends a request again for into another error."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        # Nothing was sent, and aiohttp does not connect again.
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLostError from error


class SendOnceTransport(AiohttpTransport):
    """Takes requests with their whole content; the caller bounds the time, and reads the body.

    The sessions that `client` opens must have the middleware `send_once`.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the answer once its headers have come."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        with map_aiohttp_exceptions():
            response = await self.client.request(
                request.method,
                _as_written(request.url),
                headers=request.headers,
                data=request.content or None,
                allow_redirects=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.raw_headers,
            stream=AiohttpResponseStream(response),
            request=request,
        )


def _as_written(url: httpx.URL) -> URL:
    """Return the URL without user info, which is in a header, and with nothing quoted again.

    The query is part of the path here: yarl would drop a `?` with nothing behind it.
    """
    return URL.build(
        scheme=url.scheme,
        authority=url.netloc.decode(),
        path=url.raw_path.decode(),
        encoded=True,
    )
