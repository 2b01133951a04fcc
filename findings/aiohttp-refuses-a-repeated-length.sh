#!/usr/bin/env bash
# aiohttp: an answer with its Content-Length twice, both the same, is an error.
#
# Expected: it is read. RFC 9110 lets a recipient take equal values as one, and httpx does.
# What happens: aiohttp refuses the answer as a bad one: ClientResponseError with status 400, although
#   the server said 200. So does httpx over the transport of httpx-aiohttp.
# Why it matters: proxies and hand-written gateways add a second, equal header. A program that changes
#   only the transport below httpx, for speed, loses such a server; one that sorts failures by the
#   error's status counts it as a refusal of its own request.
# Seen with: aiohttp 3.14.5, httpx 0.28.1, httpx-aiohttp 0.2.0.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
  aiohttp==3.14.5 httpx==0.28.1 httpx-aiohttp==0.2.0

"$dir/venv/bin/python" - <<'PY'
import asyncio
from importlib.metadata import version

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def serve(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = "http://127.0.0.1:{}/".format(server.sockets[0].getsockname()[1])
    async with httpx.AsyncClient() as client:
        print("expected:", (await client.get(url)).text)
    async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
        try:
            text = (await client.get(url)).text
        except aiohttp.ClientResponseError as error:
            print("seen:    ", type(error).__name__, error.status, error.message.split(":")[0])
            assert error.status == 400
        else:
            raise SystemExit(f"behaviour changed: {text}")
    server.close()


print("aiohttp", version("aiohttp"), "httpx-aiohttp", version("httpx-aiohttp"))
asyncio.run(main())
PY
