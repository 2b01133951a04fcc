"""Whatever a shop's message holds: the tasks' arguments are taken, or refused with a TrackError."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.hostile import strategies
from tests.hostile.cases import parts, run_cases
from tests.support.builders import SESSION_ID, SESSION_URL
from worker.celery_app.redaction import shown_ids
from worker.domain.errors import TrackError
from worker.domain.refused_messages import RefusalReason
from worker.domain.session import Kind, ShopObjects
from worker.domain.session_addresses import LONGEST_URL, check_session_id, check_session_url
from worker.domain.track_arguments import TrackArguments, check_arguments, leave_out_wrong
from worker.domain.tracking import TrackRequest
from worker.services.refused_messages import ReceivedMessage
from worker.services.track import Sent

ORIGINS = ["https://api.klarna.com"]
ACCOUNTS = {"default", "us_east"}
# The longest line of a log, whatever was sent.
LONGEST_REFUSAL = 250
NOW = datetime(2026, 12, 1, tzinfo=UTC)

urls = st.builds(
    lambda origin, path, end: origin + path + end,
    st.sampled_from([*ORIGINS, "https://api.klarna.com:443", "https://api.klarna.com@x", "//"]),
    st.lists(st.sampled_from(["/", "hpp", "..", "%2e", "\\", "?", "#", "\n"]), max_size=4).map(
        "".join
    ),
    st.sampled_from([f"/{SESSION_ID}", SESSION_ID, "/", "", "/a" * 2_000 + f"/{SESSION_ID}"]),
)
ARGUMENTS = {
    "session_id": st.just(SESSION_ID),
    "session_url": st.just(SESSION_URL) | urls,
    "expires_at": strategies.dates,
    "account": st.sampled_from(["default", "US_East", "\u0130", "unknown"]),
    "kind": st.sampled_from(["hpp", "kp", "HPP"]),
    "reference": strategies.texts,
}
CREATED = {
    "session_id": st.just(SESSION_ID),
    "session_url": st.just(SESSION_URL) | urls,
    "expires_at": strategies.dates,
    "redirect_url": strategies.texts,
    "distribution_module": strategies.documents,
}
nested = st.sampled_from([10, 200, 900]).map(lambda depth: json.loads("[" * depth + "]" * depth))
anything = strategies.documents | strategies.long_texts | nested
calls_of_track = st.tuples(
    st.just("track"),
    st.lists(st.just(SESSION_ID) | anything, max_size=7) | st.just([SESSION_ID]) | st.just([]),
    strategies.with_something_invalid(ARGUMENTS),
)
calls_of_track_created = st.tuples(
    st.just("track_created"),
    st.lists(strategies.with_something_invalid(CREATED) | anything, max_size=4),
    st.dictionaries(
        st.sampled_from(["response", "account", "reference", "kind"]) | strategies.texts,
        strategies.with_something_invalid(CREATED) | anything,
        max_size=2,
    ),
)


KLARNA_PAYMENT = {
    "type": st.just("klarna_payments"),
    "id": st.just("ertHJlpPTR"),
    "attributes": st.just({"session_id": SESSION_ID}) | strategies.documents,
    "relationships": st.just({"order": {"data": {"id": "qaMAhZkZvd"}}}) | strategies.documents,
}
PURCHASE = {
    "klarna_payments_session_id": st.just("5aba2ca36fc93613f8000012"),
    "klarna_client_token": st.sampled_from(["a.e30.c", "a.eyJpZCI6ICJ4In0.c", "a..c", "opaque"]),
}


def calls_with_a_document(
    task: str, member: str, fields: dict[str, st.SearchStrategy[object]]
) -> st.SearchStrategy[object]:
    """Calls of a task that takes a shop system's answer as it came."""
    document = st.fixed_dictionaries({member: strategies.with_something_invalid(fields)}) | anything
    named = st.sampled_from(["session_id", "account", "reference"]) | strategies.texts
    return st.tuples(
        st.just(task),
        st.lists(document, min_size=1, max_size=3),
        st.dictionaries(named, st.just(SESSION_ID) | anything, max_size=2),
    )


class FakeRuntime:
    """Runs the task's service at once: its argument checking, and nothing behind it."""

    def __init__(self) -> None:
        self.services = SimpleNamespace(
            track=SimpleNamespace(track=self._track), refused=SimpleNamespace(keep=self._keep)
        )
        self.taken: list[TrackRequest] = []
        self.kept: list[ReceivedMessage] = []

    def call(self, service: Callable[..., Coroutine[None, None, Any]], *arguments: object) -> Any:  # noqa: ANN401 - as the runtime's own
        """As the runtime's own, in this thread: nothing here waits."""
        with pytest.raises(StopIteration) as ended:
            service(*arguments).send(None)
        return ended.value.value

    async def _keep(self, message: ReceivedMessage, reason: RefusalReason) -> None:
        assert reason.field.isidentifier()
        assert json.loads(message.envelope)["kwargs"] is not None
        assert message.reference is None or message.reference.isprintable()
        if message.session_id is not None:
            check_session_id(message.session_id)
        self.kept.append(message)

    async def _track(
        self,
        arguments: TrackArguments,
        shop_objects: ShopObjects | None = None,
        sent: Sent | None = None,
    ) -> None:
        assert sent == Sent()
        for names in (shop_objects or {}).values():
            assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names.values())
        right, _ = leave_out_wrong(arguments, now=NOW, max_lifetime=timedelta(days=2))
        request = check_arguments(right, origins=dict.fromkeys(ACCOUNTS, ORIGINS))
        self.taken.append(request)


@pytest.fixture
def fake_runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1")
    from worker import tasks  # noqa: PLC0415 - Celery reads the environment when it is imported

    runtime = FakeRuntime()
    monkeypatch.setattr(tasks, "runtime", runtime)
    return runtime


@pytest.mark.parametrize("part", parts("task arguments"))
def test_any_argument_is_taken_or_refused_by_name(
    fake_runtime: FakeRuntime, part: int, record_property: Callable[[str, object], None]
):
    from worker import tasks  # noqa: PLC0415 - as above

    def check_call(call: tuple[str, list[object], dict[str, object]]) -> None:
        name, given, named = call
        fake_runtime.taken.clear()
        fake_runtime.kept.clear()
        try:
            getattr(tasks, name).run(*given, **named)
        except TrackError as error:
            check_refusal(error)
            assert fake_runtime.taken == []
            assert [kept.task for kept in fake_runtime.kept] == [f"payment_sessions.{name}"]
        else:
            check_taken(*fake_runtime.taken)
            assert fake_runtime.kept == []
        shown = shown_ids(given, named)
        assert all(text.isascii() and text.isprintable() and len(text) <= 130 for text in shown)

    shop_systems = calls_with_a_document("track_klarna_payment", "data", KLARNA_PAYMENT)
    shop_systems |= calls_with_a_document("track_payway", "item", PURCHASE)
    calls = calls_of_track | calls_of_track | calls_of_track_created | shop_systems
    run_cases("task arguments", part, calls, check_call, record_property)


def check_refusal(error: TrackError) -> None:
    assert error.field.isidentifier()
    assert str(error).isprintable()
    assert len(str(error)) <= LONGEST_REFUSAL
    # Celery carries the errors of failed tasks so.
    rebuilt = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(rebuilt), str(rebuilt)) == (type(error), str(error))


def check_taken(request: TrackRequest) -> None:
    assert request.session_id.isascii()
    assert request.account in {None, *ACCOUNTS}
    assert request.kind in {None, *Kind}
    assert request.reference is None or request.reference.isprintable()
    assert (request.reference or "").encode() is not None
    if request.session_url is not None:
        assert len(request.session_url) <= LONGEST_URL
        check_session_url(
            request.session_url, session_id=request.session_id, allowed_origins=ORIGINS
        )
    if request.expires_at is not None:
        assert request.expires_at.tzinfo is UTC
        assert 1969 <= request.expires_at.year <= 2200
