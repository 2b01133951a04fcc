"""Coverage-guided fuzzing of the answer parser and of `decide`; for atheris, not for pytest.

Run as a script from the project's root; CONTRIBUTING has the command.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["worker.adapters.klarna", "worker.domain", "email"]):
    import email._parseaddr
    import email.utils  # noqa: F401 - read by the client: dates in headers

    from worker.adapters.klarna import client, wire_models  # noqa: F401 - instrumented here
    from worker.domain import account, schedule, session, transitions  # noqa: F401 - imported to be instrumented

from tests.hostile.answers import Answer, Headers, answer_of, check_answer
from tests.hostile.oracle import check_decision
from tests.support.builders import (
    LIMITS,
    NOW,
    SESSION_ID,
    a_kp_session,
    a_read_session,
    a_session,
    ago,
)
from worker.domain.account import AccountState
from worker.domain.session import Outcome, PaymentSession

CODES = (200, 200, 200, 200, 301, 401, 403, 404, 418, 429, 429, 500)
NAMES = (
    *(b"Retry-After", b"Date", b"X-Ratelimit-Reset", b"Klarna-Correlation-Id"),
    *(b"Content-Encoding", b"Content-Type", b"Set-Cookie", b"Location"),
)
FIELDS = (
    *("session_id", "status", "updated_at", "expires_at", "authorization_token", "order_id"),
    *("klarna_reference", "customer", "manual_identification"),
)
VALUES = (
    *("COMPLETED", "CANCELLED", "DISABLED", "IN_PROGRESS", "incomplete", "complete", SESSION_ID),
    *("2026-03-01T11:59:30Z", "2026-02-28T00:00:00.5+02:00", "2027-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "", None, 0, [], {}),
)
SESSIONS = (
    a_session(),
    a_session(expires_at=None),
    a_session(expires_at=ago(hours=1)),
    a_session(expires_at=ago(hours=30)),
    a_session(not_found_count=4, not_found_since=ago(hours=1)),
    a_session(guessed_outcome=Outcome.NOT_FOUND),
    a_read_session(),
    a_read_session("COMPLETED"),
    a_kp_session(),
)
ACCOUNTS = (AccountState(), AccountState(refusals=3), AccountState(last_read_at=ago(minutes=1)))


def one_input(data: bytes) -> None:
    """Respond with the bytes, and check the result."""
    provider = atheris.FuzzedDataProvider(data)
    before = provider.PickValueInList(list(SESSIONS))
    code, headers = provider.PickValueInList(list(CODES)), _headers(provider)
    body = _body(provider)
    answer = answer_of(code, headers, body, before.kind)
    check_answer(answer)
    _decide(provider.ConsumeUInt(1), before, answer)


def _decide(number: int, before: PaymentSession, answer: Answer) -> None:
    account_state = ACCOUNTS[number % len(ACCOUNTS)]
    now = NOW + timedelta(seconds=number)
    decision = transitions.decide(
        before, answer, account=account_state, now=now, jitter=number / 256, limits=LIMITS
    )
    check_decision(before, account_state, answer, decision, now=now, limits=LIMITS)


def _headers(provider: atheris.FuzzedDataProvider) -> Headers:
    return [
        (provider.PickValueInList(list(NAMES)), provider.ConsumeBytes(40))
        for _ in range(provider.ConsumeIntInRange(0, 3))
    ]


def _body(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return the bytes, or a JSON object of Klarna's fields with parts of them."""
    if provider.ConsumeIntInRange(0, 3) == 0:
        return provider.ConsumeBytes(provider.remaining_bytes())
    document: dict[str, object] = {"session_id": SESSION_ID, "status": "WAITING"}
    for _ in range(provider.ConsumeIntInRange(0, 5)):
        document[provider.PickValueInList(list(FIELDS))] = _value(provider)
    return json.dumps(document).encode()


def _value(provider: atheris.FuzzedDataProvider) -> object:
    match provider.ConsumeIntInRange(0, 2):
        case 0:
            return provider.PickValueInList(list(VALUES))
        case 1:
            return provider.ConsumeUnicode(30)
        case _:
            return _fragment(provider.ConsumeUnicodeNoSurrogates(30))


def _fragment(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
