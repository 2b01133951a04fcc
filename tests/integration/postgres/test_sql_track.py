"""`track_payment_session` in SQL: the task's rules, in a transaction of the shop's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.hostile.injections import ALL
from tests.support.sql_shop import track
from tests.support.stored import Stored
from worker.domain.errors import InvalidArgumentError
from worker.domain.track_arguments import TrackArguments, check_arguments
from worker.domain.tracking import TRACK_ARGUMENTS

LATER = datetime(2030, 5, 1, 12, tzinfo=UTC)


def test_the_id_alone_is_enough_and_the_session_is_due_with_the_commit(
    shop: psycopg.Connection, stored: Stored
):
    """The URL, which SQL does not know, is left to the worker."""
    assert track(shop) is True
    assert stored.rows("SELECT * FROM payment_sessions") == []
    shop.commit()

    row = stored.session("s1")
    assert (row["account"], row["kind"], row["session_url"]) == ("default", "hpp", "")
    assert row["next_poll_at"] <= stored.value("SELECT now()")
    assert (row["lease_id"], row["outcome"], row["reference"]) == (None, None, None)


def test_everything_the_shop_says_is_stored(shop: psycopg.Connection, stored: Stored):
    track(
        shop,
        session_url="https://api.klarna.com/payments/v1/sessions/s1",
        expires_at=LATER,
        account="Nordic",
        kind="kp",
        reference="ordre n° 1; DROP TABLE x --",
    )
    shop.commit()

    row = stored.session("s1")
    assert row["session_url"] == "https://api.klarna.com/payments/v1/sessions/s1"
    assert (row["expires_at"], row["account"], row["kind"]) == (LATER, "nordic", "kp")
    assert row["reference"] == "ordre n° 1; DROP TABLE x --"


def test_what_is_rolled_back_was_never_tracked(shop: psycopg.Connection, stored: Stored):
    track(shop)
    shop.rollback()

    assert stored.rows("SELECT * FROM payment_sessions") == []


def test_its_arguments_are_those_of_the_task(stored: Stored):
    names = "SELECT proargnames FROM pg_proc WHERE proname = 'track_payment_session'"

    assert tuple(stored.value(names)) == TRACK_ARGUMENTS


HOSTILE = (
    *ALL.values(),
    *("", ".", "..", "a/b", "a b", "a\nb", "a%2fb", "ä", "x" * 128, "x" * 129, "a~b_c-d.e"),
    *("'; DROP TABLE payment_sessions; --", "$function$", "%s", "{}", "\\", "\x7f", "\u200b"),
    *("https://api.klarna.com/hpp/v1/sessions/s1", "https://api.klarna.com/s1?x=1", "x" * 256),
    *("https://api.klarna.com/../s1", "https://api.klarna.com/./s1", "https://u@api.klarna.com/s1"),
    *("https://api.klarna.com//s1", "https://api.klarna.com/s1/", "https://api.klarna.com/s2"),
    *(
        "https://api.klarna.com/s1\n",
        "https://api.klarna.com",
        f"https://api.klarna.com/{'x/' * 1100}s1",
    ),
    *(
        "ftp://api.klarna.com/s1",
        "hpp",
        "kp",
        "HPP",
        "checkout",
        "ref\u2028",
        "x" * 255,
        "\u00a0",
        "\u3000",
    ),
)


def accepted_by_the_task(**arguments: object) -> bool:
    try:
        check_arguments(
            TrackArguments(**({"session_id": "s1"} | arguments)),
            origins={"default": ["https://api.klarna.com"]},
        )
    except InvalidArgumentError:
        return False
    return True


@pytest.mark.parametrize("field", ["session_id", "session_url", "kind", "reference"])
def test_it_takes_what_the_task_takes_and_nothing_else(
    shop: psycopg.Connection, stored: Stored, field: str
):
    """Any string is refused with the field's name, or stored unchanged."""
    for value in HOSTILE:
        arguments: dict[str, Any] = {"session_id": "s1"} | {field: value}
        if accepted_by_the_task(**arguments):
            assert track(shop, **arguments) is True, value
            shop.commit()
            assert stored.session(arguments["session_id"])[field] == value
            stored.rows("DELETE FROM payment_sessions")
            continue
        with pytest.raises(psycopg.errors.InvalidParameterValue) as raised:
            track(shop, **arguments)
        assert raised.value.diag.column_name == field, value
        assert str(raised.value).startswith(f"{field}: ")
        shop.rollback()
    assert stored.rows("SELECT * FROM payment_sessions") == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"session_id": None}, "session_id"),
        ({"account": "a b"}, "account"),
        ({"account": ""}, "account"),
        ({"expires_at": "infinity"}, "expires_at"),
        ({"expires_at": "1969-12-31T23:59:59Z"}, "expires_at"),
        ({"expires_at": "2200-01-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_a_wrong_argument_is_named(
    shop: psycopg.Connection, stored: Stored, arguments: dict[str, Any], field: str
):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"^{field}: "):
        track(shop, **arguments)
    shop.rollback()

    assert stored.rows("SELECT * FROM payment_sessions") == []


def test_tracked_many_times_at_once_a_session_is_one_row(database_url: str, stored: Stored):
    """Each call returns whether it created the session."""

    def track_one(_: int) -> bool:
        with psycopg.connect(database_url) as shop:
            return track(shop)

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(track_one, range(16)))

    assert sorted(created) == [False] * 15 + [True]
    assert stored.value("SELECT count(*) FROM payment_sessions") == 1


def test_names_in_the_callers_search_path_are_never_used(shop: psycopg.Connection, stored: Stored):
    """It runs with its owner's rights, so it must not call functions of the caller's."""
    shop.execute("CREATE SCHEMA mine")
    shop.execute("CREATE TABLE mine.payment_sessions (session_id text PRIMARY KEY)")
    shop.execute("CREATE FUNCTION mine.length(text) RETURNS integer LANGUAGE sql AS 'SELECT 1 / 0'")
    shop.execute("CREATE TEMPORARY TABLE payment_sessions (session_id text PRIMARY KEY)")
    shop.execute("SET search_path = mine, pg_temp, pg_catalog, public")

    assert shop.execute("SELECT public.track_payment_session('s1', reference => 'r')").fetchone()
    shop.commit()

    assert stored.session("s1")["reference"] == "r"
