"""Any bytes with a 200 are an observation or a protocol error."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import SESSION_ID
from worker.adapters.klarna.wire_models import parse_session
from worker.domain.errors import ProtocolError
from worker.domain.session import Kind

# Two thousand in all.
OF_BYTES = settings(max_examples=1500, deadline=None, database=None)
OF_JSON = settings(max_examples=500, deadline=None, database=None)

kinds = st.sampled_from(Kind)
# Latin, Greek and the like, without what a table of all of Unicode would cost to build.
texts = st.text(st.sampled_from("aZ09 .:-+TZ/\\\"'\n\x00\u00e9\u0430\u2028\ud800\U0001f600"))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.just(SESSION_ID)
)
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
dates = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.just("nan")
sessions = st.fixed_dictionaries(
    {},
    optional={
        "session_id": st.just(SESSION_ID) | any_json,
        "status": st.sampled_from(["WAITING", "COMPLETED", "incomplete"]) | any_json,
        "updated_at": dates | any_json,
        "expires_at": dates | any_json,
        "authorization_token": texts | any_json,
        "order_id": texts | any_json,
        "customer": any_json,
        "unknown": any_json,
    },
)


def check(body: bytes, kind: Kind) -> None:
    with suppress(ProtocolError):
        observation = parse_session(body, kind=kind, session_id=SESSION_ID)
        assert observation.status.isprintable()
        assert 0 < len(observation.status) <= 255
        for moment in (observation.updated_at, observation.expires_at):
            assert moment is None or (moment.tzinfo is UTC and moment.year in range(2000, 2201))
        assert observation.updated_at is None or isinstance(observation.updated_at, datetime)


@OF_BYTES
@given(st.binary(max_size=64) | texts.map(lambda text: text.encode(errors="replace")), kinds)
def test_any_bytes(body: bytes, kind: Kind):
    check(body, kind)


@OF_JSON
@given(any_json | sessions, kinds)
def test_any_json(document: object, kind: Kind):
    check(json.dumps(document).encode(), kind)
