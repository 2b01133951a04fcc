"""Hypothesis strategies for input from outside: any size, any type, almost valid."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st

from tests.support.builders import (
    LIMITS,
    NOW,
    SESSION_ID,
    a_kp_session,
    a_read_session,
    a_session,
    ago,
    ahead,
)
from worker.domain.account import AccountState
from worker.domain.session import Outcome

# Letters, control characters, bidirectional marks, lone surrogates: a few, because a table of
# all of Unicode is slow to build.
CHARACTERS = "aZ09 .:-+T/\\\"'[]{}%$;\n\r\t\x00\x1b\x7f\x9b\u00e9\u0430\u202e\u2028\ud800\U0001f600"
texts = st.text(st.sampled_from(CHARACTERS), max_size=20)
# Far beyond any bound, at the cost of one small draw.
long_texts = st.builds(
    lambda piece, times: piece * times,
    texts,
    st.sampled_from([1, 1, 13, 13, 300, 300, 5_000, 20_000]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**400]),
    st.floats(),
    texts,
    st.just(SESSION_ID),
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
# Deeper than Python's own stack.
deep = st.sampled_from([10, 500, 5_000]).map(lambda depth: "[" * depth + "]" * depth)

dates = st.one_of(
    st.builds(
        lambda moment, zone: moment.isoformat() + zone,
        st.datetimes(),
        st.sampled_from(["Z", "+14:00", "-23:59", "+00:00:00.000001", ""]),
    ),
    st.integers(-9_000, 9_000).map(lambda minutes: ahead(minutes=minutes).isoformat()),
    st.sampled_from(
        [
            *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z"),
            *("nan", "1e400", "1557928303", "2026-03-01", "20260301T120000Z", ""),
        ]
    ),
)
statuses = st.sampled_from(
    [
        *("WAITING", "IN_PROGRESS", "BACK", "FAILED", "ERROR", "MANUAL_ID_CHECK", "TIMEOUT"),
        *("COMPLETED", "COMPLETED", "CANCELLED", "DISABLED", "incomplete", "complete", "", "NEW"),
    ]
)
ANSWER_FIELDS = {
    "session_id": st.just(SESSION_ID),
    "status": statuses,
    "updated_at": dates,
    "expires_at": dates,
    "authorization_token": st.just("b8a1c2d3-token"),
    "order_id": st.just("order-1"),
    "klarna_reference": st.just("REF1"),
    "customer": st.dictionaries(texts, scalars, max_size=2),
    "manual_identification": st.none(),
}


def with_something_invalid(
    fields: dict[str, st.SearchStrategy[object]],
) -> st.SearchStrategy[dict[str, object]]:
    """Return objects of these fields, of which a few have an arbitrary value."""
    right = st.fixed_dictionaries({}, optional=fields)
    invalid = st.dictionaries(
        st.sampled_from(sorted(fields)) | texts, documents | long_texts | texts, max_size=2
    )
    return st.builds(lambda sound, odd: sound | odd, right, invalid)


answers_as_json = with_something_invalid(ANSWER_FIELDS)
_ENCODINGS = ["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-7"]


def _written(document: object, encoding: str, *, ascii_only: bool) -> bytes:
    text = json.dumps(document, ensure_ascii=ascii_only)
    return text.encode(encoding, errors="surrogatepass" if "utf-8" in encoding else "replace")


bodies = st.one_of(
    st.builds(_written, answers_as_json, st.sampled_from(_ENCODINGS), ascii_only=st.booleans()),
    st.builds(_written, answers_as_json, st.just("utf-8"), ascii_only=st.just(True)),
    st.builds(_written, documents, st.just("utf-8"), ascii_only=st.booleans()),
    st.binary(max_size=64),
    deep.map(str.encode),
    # Texts that JSON's grammar knows and its readers choke on, and cut-off answers.
    st.builds(
        lambda body, at: body[: at % (len(body) + 1)],
        answers_as_json.map(lambda document: json.dumps(document).encode()),
        st.integers(0, 10_000),
    ),
)
packings = st.sampled_from(
    [
        *[(b"", lambda body: body)] * 6,
        (b"identity", lambda body: body),
        (b"gzip", gzip.compress),
        (b"GZIP ", zlib.compress),
        (b"deflate", zlib.compress),
        (b"gzip", lambda body: gzip.compress(body)[:-5]),
        (b"gzip", lambda body: gzip.compress(body + b" " * 300_000)),
        (b"gzip", lambda body: body),
        (b"br, gzip", lambda body: body),
    ]
)

# --- headers

numbers = st.one_of(
    st.integers(-5, 200_000).map(str),
    st.floats().map(str),
    st.sampled_from(["1e400", "9" * 5_000, "1_0", " 7 ", "+7", "0x10", "\u0661", "-0", "5;w=1"]),
)
# Valid parts in any combination, and numbers out of range: what date parsers crash on.
_parts = st.sampled_from(
    [
        *("Wed,", "21", "Oct", "2026", "07:28:00", "GMT", "-0000", "+9999", "-99999999999999999"),
        *("99999999999999999999", "24:61:61", "1e9", "Mon", "(comment", ")", ",", "0", "-1", "32"),
    ]
)
http_dates = st.one_of(
    st.just("Wed, 21 Oct 2026 07:28:00 GMT"),
    st.lists(_parts, max_size=7).map(" ".join),
    st.permutations(["Wed,", "21", "Oct", "2026", "07:28:00", "GMT"]).map(" ".join),
    st.builds(
        "Wed, {} Oct {} {}:28:00 {}".format,
        *(st.integers(0, 40) | st.integers(), st.integers(0, 9_999) | st.integers()),
        *(st.integers(0, 30), st.sampled_from(["GMT", "-0000", "+1400", "EST", "+99999999999999"])),
    ),
)
_values = st.one_of(
    (numbers | http_dates).map(lambda text: text.encode(errors="replace")),
    st.binary(max_size=40),
    long_texts.map(lambda text: text.encode(errors="replace")),
)
_names = st.sampled_from(
    [
        *(b"Retry-After", b"retry-after", b"Date", b"X-Ratelimit-Reset", b"X-Ratelimit-Limit"),
        *(b"Klarna-Correlation-Id", b"Content-Type", b"Location", b"Set-Cookie", b"X-Other"),
    ]
)
headers = st.lists(st.tuples(_names, _values), max_size=4)
codes = st.sampled_from([*[200] * 12, *[429] * 3, 401, 403, 404, 404, 302, 204, 418, 500, 503, 600])

# --- what is known already

open_sessions = st.sampled_from(
    [
        a_session(),
        a_session(expires_at=None),
        a_session(expires_at=ago(minutes=1)),
        a_session(expires_at=ago(hours=23)),
        a_session(expires_at=ago(hours=25)),
        a_session(expires_at=ago(hours=25), nudged_at=ago(minutes=1)),
        a_session(not_found_count=4, not_found_since=ago(minutes=16), consecutive_failures=4),
        a_session(guessed_outcome=Outcome.NOT_FOUND, event_count=1),
        a_session(guessed_outcome=Outcome.EXPIRED, event_count=1, expires_at=ago(hours=1)),
        a_read_session(),
        a_read_session("BACK", expires_at=ago(hours=1)),
        a_read_session("IN_PROGRESS", status_updated_at=None),
        a_read_session("IN_PROGRESS", status_updated_at=ahead(hours=9)),
        a_read_session("COMPLETED"),
        a_read_session("COMPLETED", status_observed_at=ago(minutes=1), expires_at=ago(hours=1)),
        a_read_session("IN_PROGRESS", holds_token=True, expires_at=ago(minutes=1)),
        a_read_session("IN_PROGRESS", order_id="order-1", expires_at=ago(minutes=1)),
        a_read_session(consecutive_failures=10**6, last_error="server_error: HTTP 500"),
        a_kp_session(),
        a_kp_session(status="incomplete", transition_count=1, status_observed_at=ago(minutes=5)),
    ]
)
accounts = st.sampled_from(
    [
        AccountState(),
        AccountState(last_read_at=ago(minutes=5)),
        AccountState(refusals=10**4, paused_until=ago(seconds=1)),
        AccountState(throttles=10**4, paused_until=ahead(minutes=4)),
    ]
)
limits = st.sampled_from(
    [
        LIMITS,
        replace(LIMITS, expiry_grace=timedelta(0), max_interval=timedelta(milliseconds=1)),
        replace(LIMITS, max_interval=timedelta(days=365), max_lifetime=timedelta(days=365)),
    ]
)
moments = st.sampled_from([NOW, NOW + timedelta(microseconds=1), ahead(hours=23), ahead(days=400)])
jitters = st.sampled_from([0.0, 0.5, 1 - 2**-53])
