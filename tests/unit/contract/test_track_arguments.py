"""The arguments of `payment_sessions.track`: anything may come, the field at fault is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from typer.main import get_command

from devkit.sandbox import accounts
from tests.support.builders import SESSION_ID, SESSION_URL
from worker.cli import app as cli
from worker.domain.errors import InvalidArgumentError
from worker.domain.session import Kind
from worker.domain.track_arguments import TrackArguments, check_arguments, leave_out_wrong
from worker.domain.tracking import DEFAULT_ACCOUNT, TRACK_ARGUMENTS, TrackRequest

KLARNA, NORTH_AMERICA = "https://api.klarna.com", "https://api-na.klarna.com"
US_SESSION_URL = SESSION_URL.replace(KLARNA, NORTH_AMERICA)


def checked(session_id: object = SESSION_ID, **arguments: object) -> TrackRequest:
    return check_arguments(
        TrackArguments(session_id=session_id, **arguments),
        origins={"default": [KLARNA], "us_east": [NORTH_AMERICA], "unset": [KLARNA, NORTH_AMERICA]},
    )


def test_the_session_id_alone_is_enough_and_the_rest_is_left_unsaid():
    assert checked() == TrackRequest(session_id=SESSION_ID)


def test_everything_may_be_said():
    request = checked(
        session_url=US_SESSION_URL,
        expires_at="2038-01-19T03:14:07.000Z",
        account="US_East",
        kind="kp",
        reference="shop-order-7 / ä",
    )

    assert request == TrackRequest(
        session_id=SESSION_ID,
        session_url=US_SESSION_URL,
        expires_at=datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
        account="us_east",
        kind=Kind.KP,
        reference="shop-order-7 / ä",
        foreign_accounts=frozenset({"default"}),
    )


@pytest.mark.parametrize(
    ("account", "session_url", "refused"),
    [
        ("default", SESSION_URL, False),
        ("default", US_SESSION_URL, True),
        ("us_east", SESSION_URL, True),
        ("us_east", US_SESSION_URL, False),
        ("unset", SESSION_URL, False),
        ("unset", US_SESSION_URL, False),
    ],
)
def test_a_url_is_on_an_origin_of_its_account(account: str, session_url: str, refused: bool):  # noqa: FBT001 - a table's column
    """Without an account it is checked where the session's own is known."""
    unsaid = checked(session_url=session_url)
    assert (account in unsaid.foreign_accounts) is refused
    if not refused:
        assert checked(session_url=session_url, account=account).session_url == session_url
        return
    with pytest.raises(InvalidArgumentError) as caught:
        checked(session_url=session_url, account=account)
    assert caught.value.field == "session_url"
    assert "KLARNA_BASE_URL" in str(caught.value)


def test_an_origin_that_no_account_has_is_refused_with_and_without_an_account():
    url = SESSION_URL.replace(KLARNA, "https://api-oc.klarna.com")

    for account in (None, "default", "unset"):
        with pytest.raises(InvalidArgumentError, match=r"^session_url: "):
            checked(session_url=url, account=account)


def test_a_time_may_come_as_a_time():
    moment = datetime(2038, 1, 19, tzinfo=UTC)

    assert checked(expires_at=moment).expires_at == moment


def test_a_time_may_come_as_postgres_writes_it():
    assert checked(expires_at="2026-12-02 03:04:05+00").expires_at == datetime(
        2026, 12, 2, 3, 4, 5, tzinfo=UTC
    )


@pytest.mark.parametrize("value", [4711, UUID(int=4711)])
def test_an_id_may_come_as_a_number_or_a_uuid(value: object):
    request = checked(session_id=value, reference=value, session_url=None)

    assert (request.session_id, request.reference) == (str(value), str(value))


NOW = datetime(2026, 12, 1, tzinfo=UTC)
TWO_DAYS = timedelta(days=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires_at", "tomorrow"),
        ("expires_at", "2026-12-02T00:00:00"),
        ("expires_at", 1_796_000_000),
        ("expires_at", "1999-12-31T23:59:59Z"),
        ("expires_at", "2026-12-03T00:05:01Z"),
        ("reference", "a\u00a0b"),
        ("reference", ["order-1"]),
        ("reference", "x" * 256),
    ],
)
def test_a_wrong_optional_argument_can_be_left_out(field: str, value: object):
    arguments: TrackArguments = {
        "session_id": SESSION_ID,
        "expires_at": "2026-12-03T00:04:59Z",
        "reference": "order-1",
    }

    right, faults = leave_out_wrong(arguments | {field: value}, now=NOW, max_lifetime=TWO_DAYS)

    assert [fault.field for fault in faults] == [field]
    assert right == {name: each for name, each in arguments.items() if name != field}
    assert leave_out_wrong(arguments, now=NOW, max_lifetime=TWO_DAYS) == (arguments, [])


@pytest.mark.parametrize("kind", ["hpp", "kp"])
def test_both_kinds_are_known(kind: str):
    assert checked(kind=kind).kind == kind


NO_ID = [True, False, 1.5, 10**5000, [], {}, ["x"], {"x": "y"}]
NOT_TEXT = [7, 0, *NO_ID]
BAD = {
    "session_id": [None, "", "a/b", "..", *NO_ID],
    "session_url": ["", "https://evil.test/x", f"{SESSION_URL}?x", *NOT_TEXT],
    "account": ["", "unknown", " default", "default\n", *NOT_TEXT],
    "kind": ["", "HPP", "hpp ", "kco", *NOT_TEXT],
    "reference": ["a\nb", "a\x00", "\u2028", "x" * 256, *NO_ID],
    "expires_at": [
        "",
        "tomorrow",
        "2038-01-19",
        "2038-01-19T03:14:07",
        datetime(2038, 1, 19),  # noqa: DTZ001 - naive on purpose
        "2038-13-01T00:00:00Z",
        "20380119031407",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2200-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        *NOT_TEXT,
    ],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD.items() for value in values],
    ids=lambda value: ascii(value)[:30] if not isinstance(value, int) else f"number{value % 99}",
)
def test_a_bad_argument_is_named(field: str, value: object):
    with pytest.raises(InvalidArgumentError) as refused:
        checked(**{field: value})

    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


def test_a_refusal_does_not_repeat_what_came():
    """It may hold anything, and the error goes to logs and to Flower."""
    with pytest.raises(InvalidArgumentError) as refused:
        checked(session_url="https://user:canary@api.klarna.com/x", reference="canary")

    assert "canary" not in str(refused.value)


def test_a_reference_may_be_long_but_not_longer():
    assert checked(reference="x" * 255).reference == "x" * 255
    assert checked(reference="").reference == ""


# --- every other list of the arguments is the domain's; tests/integration/postgres has SQL's


def test_a_bad_value_of_each_argument_is_tested():
    assert BAD.keys() == set(TRACK_ARGUMENTS)


def test_another_argument_is_refused():
    with pytest.raises(TypeError):
        checked(referense="order-1")


def test_the_command_line_takes_the_same_arguments():
    command = get_command(cli).commands["track"]
    taken = tuple(parameter.name for parameter in command.params)

    assert [name for name in taken if name in TRACK_ARGUMENTS] == list(TRACK_ARGUMENTS)
    assert set(taken) - set(TRACK_ARGUMENTS) == {"source", "as_json"}


def test_the_mock_klarna_server_has_the_default_account():
    """It stands alone, so it states the name itself."""
    assert accounts.DEFAULT_ACCOUNT == DEFAULT_ACCOUNT
