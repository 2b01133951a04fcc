"""Errors carry a verdict and data that is safe to show."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from worker.domain.errors import (
    AccountRefusedError,
    ConflictError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidArgumentError,
    ObservationError,
    OriginNotAllowedError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
    TrackError,
    Verdict,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DeadlineExceededError(), "deadline_exceeded"),
        (ConnectionFailedError("tls"), "connection_failed: tls"),
        (ServerError(status_code=503), "server_error: HTTP 503"),
        (
            ProtocolError("no status", status_code=200, correlation_id="c-1"),
            "protocol_error: HTTP 200: no status: correlation id c-1",
        ),
        (
            RateLimitedError(retry_after=timedelta(seconds=1), correlation_id="c-2"),
            "rate_limited: HTTP 429: correlation id c-2",
        ),
    ],
    ids=str,
)
def test_an_error_reads_as_its_label_and_what_klarnas_support_asks_for(
    error: ObservationError, text: str
):
    assert str(error) == text


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (ProtocolError, Verdict.RETRY),
        (ServerError, Verdict.RETRY),
        (DeadlineExceededError, Verdict.RETRY),
        (ConnectionFailedError, Verdict.RETRY),
        (OriginNotAllowedError, Verdict.RETRY),
        (SessionNotFoundError, Verdict.NOT_FOUND),
        (AccountRefusedError, Verdict.PAUSE_ACCOUNT),
        (RateLimitedError, Verdict.SLOW_ACCOUNT),
    ],
)
def test_every_failed_read_has_its_verdict(kind: type[ObservationError], verdict: Verdict):
    assert kind.verdict is verdict


@pytest.mark.parametrize("kind", [InvalidArgumentError, ConflictError])
def test_a_refused_track_names_its_field_and_survives_celerys_pickling(kind: type[TrackError]):
    error = kind("account", "is not configured")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is kind
    assert (again.field, again.problem) == ("account", "is not configured")
    assert str(again) == str(error) == "account: is not configured"
