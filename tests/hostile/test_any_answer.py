"""Any response of Klarna: no crash, nothing harmful stored, only the documented changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import strategies as st

from tests.hostile import strategies
from tests.hostile.answers import answer_of, check_answer
from tests.hostile.cases import DEFAULT_TOTAL, SHARES, parts, planned, run_cases
from tests.hostile.oracle import check_decision
from tests.support.builders import a_session
from worker.domain.account import AccountState
from worker.domain.errors import ObservationError
from worker.domain.schedule import PollLimits
from worker.domain.session import PaymentSession
from worker.domain.transitions import decide

Record = Callable[[str, object], None]

answers = st.tuples(strategies.codes, strategies.headers, strategies.bodies, strategies.packings)
circumstances = st.tuples(
    strategies.accounts, strategies.moments, strategies.jitters, strategies.limits
)


def check_poll(case: tuple[tuple, PaymentSession, tuple]) -> None:
    (code, headers, body, (encoding, pack)), before, known = case
    account, now, jitter, limits = known
    if encoding:
        headers = [*headers, (b"Content-Encoding", encoding)]
    answer = answer_of(code, headers, pack(body), before.kind)
    check_answer(answer)
    check(before, account, answer, now, jitter, limits)


def check(
    before: PaymentSession,
    account: AccountState,
    answer: object,
    now: datetime,
    jitter: float,
    limits: PollLimits,
) -> None:
    decision = decide(before, answer, account=account, now=now, jitter=jitter, limits=limits)
    check_decision(before, account, answer, decision, now=now, limits=limits)


@pytest.mark.parametrize("part", parts("answers"))
def test_any_answer_is_an_observation_or_a_typed_error(part: int, record_property: Record):
    run_cases(
        "answers",
        part,
        st.tuples(answers, strategies.open_sessions, circumstances),
        check_poll,
        record_property,
    )


def check_headers(case: tuple[int, list[tuple[bytes, bytes]]]) -> None:
    code, headers = case
    answer = answer_of(code, headers, b"", a_session().kind)
    assert isinstance(answer, ObservationError)
    check_answer(answer)


@pytest.mark.parametrize("part", parts("headers"))
def test_any_header_of_an_error_is_read_or_ignored(part: int, record_property: Record):
    codes = st.sampled_from([*[429] * 6, 302, 401, 404, 500])
    run_cases("headers", part, st.tuples(codes, strategies.headers), check_headers, record_property)


def test_the_properties_together_run_twenty_thousand_cases_unless_asked_otherwise():
    assert DEFAULT_TOTAL >= 20_000
    assert sum(share for share, _ in SHARES.values()) == pytest.approx(1)
    assert all(planned(name) > 0 for name in SHARES)
