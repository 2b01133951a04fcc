"""Any bytes of a server: the whole client, over TCP, returns a response or a typed error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import strategies as st

from tests.hostile import strategies
from tests.hostile.answers import Answer, check_answer
from tests.hostile.cases import parts, run_cases
from tests.hostile.listening import Listener, answer, say
from tests.support.builders import SESSION_ID, a_session
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.domain.errors import ObservationError
from worker.domain.session import PaymentSession

SECRET = "secret-of-the-account"
TIMEOUT = timedelta(seconds=1)

reasons = st.sampled_from([b"OK", b"", b"Gr\xfc\xdf dich", b"\x1b[31m", b"x" * 9_000])
versions = st.sampled_from([*[b"HTTP/1.1"] * 8, b"HTTP/1.0", b"HTTP/9.9", b"ICY", b"\x16\x03\x01"])
status_codes = st.one_of(
    strategies.codes.map(lambda code: str(code).encode()),
    st.sampled_from([b"000", b"99999", b"-1", b"1e2", b"", b"101", b"100", b"304"]),
)
framings = st.sampled_from(
    [
        *[(b"Content-Length: %d", lambda body: body)] * 6,
        (b"X: %d", lambda body: body),
        (b"Content-Length: 9%d", lambda body: body),
        (b"Content-Length: -%d", lambda body: body),
        (b"Content-Length: 1\r\nContent-Length: %d", lambda body: body),
        (
            b"Transfer-Encoding: chunked\r\nX: %d",
            lambda body: b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        ),
        (
            b"Transfer-Encoding: chunked\r\nX: %d",
            lambda body: b"%x;a=b\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body),
        ),
        (b"Transfer-Encoding: chunked\r\nX: %d", lambda body: b"fffffffffffffffff\r\n" + body),
        (b"Transfer-Encoding: chunked, gzip\r\nX: %d", lambda body: body),
    ]
)


def written(
    version: bytes,
    code: bytes,
    reason: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    framing: tuple[bytes, Callable[[bytes], bytes]],
) -> bytes:
    frame, packed = framing
    lines = [
        b"%s %s %s" % (version, code, reason),
        frame.replace(b"%d", str(len(body)).encode()),
        *(b"%s: %s" % header for header in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + packed(body)


sent = st.one_of(
    *[
        st.builds(
            written,
            versions,
            status_codes,
            reasons,
            strategies.headers,
            strategies.bodies,
            framings,
        )
    ]
    * 4,
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda noise: b"HTTP/1.1 200 OK\r\n" + noise),
)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as started:
        yield started


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with Listener(say(b"")) as listening:
        yield listening


@pytest.fixture(scope="module")
def read(portal: BlockingPortal, listener: Listener) -> Iterator[Callable[[], Answer]]:
    """Reads the listener's next answer, with everything that a poll reads it with."""
    session = a_session(session_url=f"{listener.origin}/hpp/v1/sessions/{SESSION_ID}")
    klarna = portal.call(_klarna, listener.origin)
    yield partial(portal.call, _read, klarna, session)
    portal.call(klarna.aclose)


async def _klarna(origin: str) -> HttpxKlarna:
    accounts = {"default": Credentials("user", SECRET)}
    return HttpxKlarna(accounts, allowed_origins={"default": [origin]}, timeout=TIMEOUT)


async def _read(klarna: HttpxKlarna, session: PaymentSession) -> Answer:
    try:
        return await klarna.read(session)
    except ObservationError as error:
        return error


@pytest.mark.parametrize("part", parts("sent answers"))
def test_any_bytes_from_the_server_are_an_answer_or_a_typed_error(
    listener: Listener,
    read: Callable[[], Answer],
    part: int,
    record_property: Callable[[str, object], None],
):
    def check_bytes(said: bytes) -> None:
        listener.saying = say(said)
        started = time.monotonic()  # noqa: TID251 - how long a test took
        check_answer(read())
        took = time.monotonic() - started  # noqa: TID251 - a duration is measured
        # Far above the deadline: a busy machine is slow, only a read without end is wrong.
        assert took < TIMEOUT.total_seconds() + 30

    run_cases("sent answers", part, sent, check_bytes, record_property)


def test_after_all_that_a_sound_answer_is_still_read(
    listener: Listener, read: Callable[[], Answer]
):
    listener.saying = say(answer(b'{"status": "IN_PROGRESS"}'))

    assert read().status == "IN_PROGRESS"
