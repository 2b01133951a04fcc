"""Broken ways to send a response; some need the connection itself, which ASGI hides."""

import asyncio
import socket
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

from devkit.sandbox.exchange import Exchange, start_message
from devkit.sandbox.faults import (
    BigHeaders,
    Delivery,
    Disconnect,
    Drip,
    GzipBomb,
    Oversized,
    Raw,
    Truncated,
)
from devkit.sandbox.responses import Header, Response, reason_phrase

_BLOCK_BYTES = 64 * 1024
_RAW_DEFLATE = -zlib.MAX_WBITS
_GZIP_HEADER = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def deliver(fault: Delivery, response: Response, exchange: Exchange) -> None:
    """Send a response as the fault says."""
    if isinstance(fault, Oversized):
        await _oversized(fault, response, exchange)
    elif isinstance(fault, GzipBomb):
        await exchange.write(await _gzip_bomb(fault, response))
    elif isinstance(fault, Drip):
        await _drip(fault, response, exchange)
    elif isinstance(fault, Truncated):
        await _finish(exchange, _truncated(fault, response))
    elif isinstance(fault, BigHeaders):
        big: Header = (b"x-big", b"b" * fault.size_bytes)
        large = Response(response.status, response.body, (*response.headers, big))
        await _finish(exchange, _head(large, len(response.body)) + response.body)
    elif isinstance(fault, Raw):
        exchange.status = None
        await _finish(exchange, fault.text.encode("latin-1"))
    elif isinstance(fault, Disconnect):
        await _disconnect(fault, exchange)


async def _oversized(fault: Oversized, response: Response, exchange: Exchange) -> None:
    headers = response.headers
    missing = max(0, fault.size_bytes - len(response.body))
    if fault.declared:
        headers = (*headers, (b"content-length", b"%d" % (len(response.body) + missing)))
    await exchange.send(start_message(response.status, headers))
    for block in _padded(response.body, missing):
        await exchange.send({"type": "http.response.body", "body": block, "more_body": True})
        if exchange.transport.is_closing():
            return
        await asyncio.sleep(0)
    await exchange.send({"type": "http.response.body", "body": b""})


def _padded(body: bytes, missing: int) -> Iterator[bytes]:
    yield body
    blanks = b" " * _BLOCK_BYTES
    for _ in range(missing // _BLOCK_BYTES):
        yield blanks
    yield b" " * (missing % _BLOCK_BYTES)


async def _gzip_bomb(fault: GzipBomb, response: Response) -> Response:
    missing = max(0, fault.size_bytes - len(response.body))
    blanks, checksum = await asyncio.to_thread(_packed_blanks, missing)
    packer = zlib.compressobj(wbits=_RAW_DEFLATE)
    packed = packer.compress(response.body) + packer.flush()
    total = (missing + len(response.body)) & 0xFFFFFFFF
    trailer = struct.pack("<II", zlib.crc32(response.body, checksum), total)
    bomb = b"".join([_GZIP_HEADER, *blanks, packed, trailer])
    return Response(response.status, bomb, (*response.headers, (b"content-encoding", b"gzip")))


@lru_cache(maxsize=8)
def _packed_blanks(count: int) -> tuple[list[bytes], int]:
    """Return `count` blanks deflated, and their CRC: one packed block many times over.

    A full flush makes a block refer to nothing before it, so a gigabyte costs no compression.
    """
    blocks, rest = divmod(count, _BLOCK_BYTES)
    block, last = b" " * _BLOCK_BYTES, b" " * rest
    checksum = 0
    for _ in range(blocks):
        checksum = zlib.crc32(block, checksum)
    packed = [_packed_block(block)] * blocks + [_packed_block(last)]
    return packed, zlib.crc32(last, checksum)


def _packed_block(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=_RAW_DEFLATE)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


async def _drip(fault: Drip, response: Response, exchange: Exchange) -> None:
    head, body = _head(response, len(response.body)), response.body
    at_once, slowly = (head, body) if fault.kind == "drip" else (b"", head + body)
    exchange.transport.write(at_once)
    for start in range(0, len(slowly), fault.chunk_bytes):
        exchange.transport.write(slowly[start : start + fault.chunk_bytes])
        if await exchange.left_within(fault.interval_seconds):
            return
    await _finish(exchange, b"")


def _truncated(fault: Truncated, response: Response) -> bytes:
    half = response.body[: len(response.body) // 2]
    declared = len(response.body) if fault.declared == "full" else len(half)
    return _head(response, declared) + half


async def _disconnect(fault: Disconnect, exchange: Exchange) -> None:
    exchange.status = None
    if fault.kind == "reset":
        connection = exchange.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        exchange.transport.abort()
    await _finish(exchange, b"")


async def _finish(exchange: Exchange, data: bytes) -> None:
    """Write the last bytes, close, and wait for the end so that the server adds nothing."""
    if data:
        exchange.transport.write(data)
    exchange.transport.close()
    await exchange.client_left()


def _head(response: Response, declared_length: int) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (response.status, reason_phrase(response.status).encode())]
    lines += [name + b": " + value for name, value in response.headers]
    lines += [b"content-length: %d" % declared_length, b"connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"
