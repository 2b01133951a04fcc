"""What kombu unpacks, once every decoder is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu import compression

from worker.celery_app.compression import MAX_BYTES, UnpackError, bound_decoders

NAMES = ["zlib", "bzip2", "lzma", "zstd"]


@pytest.fixture(autouse=True)
def kombus_own() -> Iterator[None]:
    before = [
        (*compression.get_encoder(name), compression.get_decoder(name))
        for name in compression.encoders()
    ]
    yield
    for encoder, content_type, decoder in before:
        compression.register(encoder, decoder, content_type)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, MAX_BYTES])
def test_up_to_1_mib_is_unpacked(name: str, size: int):
    packed, content_type = compression.compress(b"0" * size, name)
    bound_decoders()

    assert compression.decompress(packed, content_type) == b"0" * size
    assert compression.compress(b"0" * size, name)[0] == packed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [MAX_BYTES + 1, 2 * MAX_BYTES])
def test_more_is_refused(name: str, size: int):
    packed, content_type = compression.compress(b"0" * size, name)
    bound_decoders()

    with pytest.raises(UnpackError, match="over 1 MiB"):
        compression.decompress(packed, content_type)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_broken_is_refused(name: str):
    packed, content_type = compression.compress(b"a message", name)
    bound_decoders()

    for broken in (b"", packed[:-1], b"not packed at all", b"\x00" + packed):
        with pytest.raises(UnpackError, match=r"broken|incomplete"):
            compression.decompress(broken, content_type)


def test_a_compression_that_has_no_bound_is_refused():
    """Kombu knows brotli where it is installed."""
    compression.register(bytes, bytes, "application/x-unknown", aliases=["unknown"])
    bound_decoders()

    with pytest.raises(UnpackError, match="not supported"):
        compression.decompress(b"a message", "unknown")
