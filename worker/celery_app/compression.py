"""Bounds what a compressed message may unpack to: a few bytes may stand for gigabytes.

A message beyond the bound, or one that is broken, cannot be decoded: the consumer's
`on_decode_error` gets it.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from kombu import compression

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BYTES = 1024 * 1024
# What a decoder may allocate for itself. lzma: preset 6, the default, takes 9 MiB. zstd: a window
# of 8 MiB is what RFC 8878 asks every decoder to support.
_LZMA_MEMORY = 16 * 1024 * 1024
_ZSTD_WINDOW_LOG = 23


class UnpackError(ValueError):
    """The message unpacks to more than the bound, or is broken."""


class _Decompressor(Protocol):
    """What the decompressors of zlib, bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def bound_decoders() -> None:
    """Bound every decoder that kombu knows; one that cannot be bounded takes nothing."""
    for content_type in compression.encoders():
        encoder, _ = compression.get_encoder(content_type)
        compression.register(encoder, _BOUNDED.get(content_type, _refuse), content_type)


def _unpack(decompressor: _Decompressor, packed: bytes) -> bytes:
    try:
        unpacked = decompressor.decompress(packed, MAX_BYTES + 1)
    except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, zstd.ZstdError) as error:
        raise UnpackError(f"broken: {type(error).__name__}") from None
    if len(unpacked) > MAX_BYTES:
        raise UnpackError("over 1 MiB")
    if not decompressor.eof:
        raise UnpackError("incomplete")
    return unpacked


def _zstd() -> Any:  # noqa: ANN401 - two modules, by Python's version
    limit = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=limit)


def _refuse(packed: bytes) -> bytes:  # noqa: ARG001 - kombu's signature
    raise UnpackError("this compression is not supported")


# kombu's names; "gzip" is zlib's own format.
_BOUNDED: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": lambda packed: _unpack(zlib.decompressobj(), packed),
    "application/x-bz2": lambda packed: _unpack(bz2.BZ2Decompressor(), packed),
    "application/x-lzma": lambda packed: _unpack(
        lzma.LZMADecompressor(memlimit=_LZMA_MEMORY), packed
    ),
    "application/zstd": lambda packed: _unpack(_zstd(), packed),
}
