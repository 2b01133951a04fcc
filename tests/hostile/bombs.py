"""Responses that exhaust their reader; each goes on until the reader closes the connection."""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Iterable
from itertools import repeat

from tests.hostile.listening import Saying, answer, say

# What `conftest` collects from the reports: mebibytes above idle.
PEAK = "hostile peak"
KIB, MIB, GIB = 1024, 1024**2, 1024**3
LIMIT = 256 * KIB
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SLOWLY = 1.0


def stream(head: bytes, pieces: Iterable[bytes]) -> Saying:
    """Send the head, then chunks as fast as they are read."""

    def saying(connection: socket.socket) -> None:
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(piece)

    return saying


def drip(head: bytes, said: bytes) -> Saying:
    """Send the head, then a byte a second until the reader closes the connection."""

    def saying(connection: socket.socket) -> None:
        connection.sendall(head)
        for byte in said:
            connection.sendall(bytes([byte]))
            if _hung_up(connection):
                return

    return saying


def silent(head: bytes) -> Saying:
    """Send the head, then nothing until the reader closes the connection."""

    def saying(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.recv(1)

    return saying


def _hung_up(connection: socket.socket) -> bool:
    """Return whether the reader closes the connection within a second."""
    connection.settimeout(SLOWLY)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(None)


def _bomb(wbits: int, *headers: str, size: int = 200 * MIB) -> Saying:
    """Blanks, compressed to a thousandth: 200 MiB are less than 256 KiB on the wire."""
    packer = zlib.compressobj(level=9, wbits=wbits)
    # After a full flush each block stands by itself: one serves for all.
    first, again = (packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return say(answer(first + again * (size // MIB - 1), *headers))


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


_BLANKS = b" " * 64 * KIB
_KEYS = json.dumps({f"k{number}": [] for number in range(15_000)}).encode()

BOMBS: dict[str, Saying] = {
    # --- packed, though identity was asked for
    "gzip of 200 MiB": _bomb(zlib.MAX_WBITS | 16, "Content-Encoding: gzip"),
    "zlib of 200 MiB": _bomb(zlib.MAX_WBITS, "Content-Encoding: deflate"),
    "raw deflate of 200 MiB": _bomb(-zlib.MAX_WBITS, "Content-Encoding: deflate"),
    "gzip of gzip": _bomb(zlib.MAX_WBITS | 16, "Content-Encoding: gzip, gzip"),
    "gzip as transfer encoding": _bomb(zlib.MAX_WBITS | 16, "Transfer-Encoding: gzip"),
    "gzip of a GiB": _bomb(zlib.MAX_WBITS | 16, "Content-Encoding: gzip", size=GIB),
    # --- large
    "a byte over 256 KiB": say(answer(b" " * (LIMIT + 1))),
    "a GiB, declared": stream(
        OK + b"Content-Length: %d\r\n\r\n" % GIB, repeat(_BLANKS, GIB // len(_BLANKS))
    ),
    "a GiB, chunked": stream(CHUNKED, repeat(_chunk(_BLANKS), GIB // len(_BLANKS))),
    "a GiB in one chunk": stream(CHUNKED + b"%x\r\n" % GIB, repeat(_BLANKS, GIB // len(_BLANKS))),
    "a GiB until the close": stream(OK + b"\r\n", repeat(_BLANKS, GIB // len(_BLANKS))),
    "a GiB of an error": stream(
        b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % GIB, repeat(_BLANKS, 16 * KIB)
    ),
    "endless chunks of a byte": stream(CHUNKED, repeat(_chunk(b" ") * 1000)),
    "endless chunk extension": stream(CHUNKED + b"1;", repeat(b"a" * 64 * KIB)),
    "endless chunk size": stream(CHUNKED, repeat(b"0" * 64 * KIB)),
    "endless trailers": stream(CHUNKED + b"0\r\n", repeat(b"X-Trailer: x\r\n" * 1000)),
    # --- heads
    "a header of 64 KiB": say(OK + b"X: " + b"a" * 64 * KIB + b"\r\n\r\n"),
    "a reason of 64 KiB": say(b"HTTP/1.1 200 " + b"a" * 64 * KIB + b"\r\n\r\n"),
    "endless header": stream(OK + b"X: ", repeat(b"a" * 64 * KIB)),
    "endless header name": stream(OK, repeat(b"a" * 64 * KIB)),
    "endless headers": stream(OK, repeat(b"X-Header: x\r\n" * 1000)),
    "endless status line": stream(b"HTTP/1.1 200 ", repeat(b"a" * 64 * KIB)),
    "endless continue": stream(b"", repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
    "endless noise": stream(b"", repeat(bytes(range(256)) * 256)),
    "a hundred cookies of 4 KiB": say(
        answer(b"{}", *[f"Set-Cookie: c{n}={'x' * 4000}; Expires={'1' * 50}" for n in range(100)])
    ),
    # --- JSON
    "a hundred thousand brackets": say(answer(b"[" * 100_000)),
    "fifteen thousand keys": say(answer(_KEYS)),
    "a number of 200,000 digits": say(answer(b'{"status": ' + b"9" * 200_000 + b"}")),
    "a text of 200,000 escapes": say(answer(b'{"status": "' + b"\\u0041" * 33_000 + b'"}')),
    # --- slow
    "one byte of the body a second": drip(OK + b"Content-Length: 999\r\n\r\n", b" " * 999),
    "one byte of the head a second": drip(b"", OK + b"X" * 999),
    "one chunk a second": drip(CHUNKED + b"1\r\n", b"a\r\n1\r\n" * 200),
    "silence": silent(b""),
    "a head and silence": silent(OK + b"Content-Length: 5\r\n\r\n"),
}
