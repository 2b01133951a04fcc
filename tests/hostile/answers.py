"""What the client makes of a response, and what must hold for it."""

from __future__ import annotations

from datetime import UTC, timedelta

import httpx

from tests.support.builders import SESSION_ID
from worker.adapters.klarna.client import LARGEST_BODY, _bounded_body, _raise_for_status
from worker.adapters.klarna.wire_models import parse_session
from worker.domain.errors import ObservationError, RateLimitedError
from worker.domain.session import OPTIONAL_FIELDS, Kind, Observation

Headers = list[tuple[bytes, bytes]]
Answer = Observation | ObservationError

LONGEST_ERROR = 300


def answer_of(code: int, headers: Headers, body: bytes, kind: Kind) -> Answer:
    """Return the client's result for a response, from its status line on.

    Anything but an ObservationError goes through: it is a crash.
    """
    response = httpx.Response(code, headers=headers, stream=httpx.ByteStream(body))
    try:
        return _finished(_read(response, kind))
    except ObservationError as error:
        return error


async def _read(response: httpx.Response, kind: Kind) -> Observation:
    _raise_for_status(response)
    body = await _bounded_body(response)
    assert len(body) <= LARGEST_BODY
    return parse_session(body, kind=kind, session_id=SESSION_ID)


def _finished(reading: object) -> Observation:
    """Run a coroutine that never waits: the whole response is there."""
    try:
        reading.send(None)
    except StopIteration as stopped:
        return stopped.value
    raise AssertionError("the answer was there, and still something waited")


def check_answer(answer: Answer) -> None:
    """Check that nothing in it is harmful in a log, in the database or on a page."""
    if isinstance(answer, ObservationError):
        _check_error(answer)
        return
    assert 0 < len(answer.status) <= 255
    for text in (answer.status, answer.order_id, answer.klarna_reference):
        assert text is None or (text.isprintable() and 0 < len(text) <= 255)
    assert set(answer.ignored_fields) <= OPTIONAL_FIELDS
    token = answer.authorization_token
    assert token is None or (token.isprintable() and 0 < len(token) <= 4096)
    assert token is None or token.encode()
    for moment in (answer.updated_at, answer.expires_at):
        assert moment is None or (moment.tzinfo is UTC and 2000 <= moment.year <= 2200)


def _check_error(error: ObservationError) -> None:
    text = str(error)
    assert text.isprintable()
    assert text.isascii()
    assert len(text) <= LONGEST_ERROR
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        assert timedelta(0) <= error.retry_after <= timedelta(days=1)
