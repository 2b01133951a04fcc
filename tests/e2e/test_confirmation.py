"""An authorization without an order: one event in time, until it is confirmed or lapsed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually

AUTHORIZED = ("authorized", None)
LAPSED = ("authorization_lapsed", None)


@pytest.fixture(scope="module")
def worker_and_two_beats(
    shared_environment: dict[str, str],
    klarna: SandboxClient,  # noqa: ARG001 - as new
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    with deploy(shared_environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat", "beat")
        yield deployed


@pytest.fixture
def shop(worker_and_two_beats: Deployment) -> Iterator[Deployment]:
    """The shared deployment; after each test all invariants must hold."""
    yield worker_and_two_beats
    worker_and_two_beats.assert_invariants()


def pay(
    shop: Deployment, klarna: SandboxClient, *, minutes_left: float, **script: object
) -> tuple[str, str]:
    """Track a paid session whose token is valid for this long; return its id and token."""
    # The script's clock began with an opened page, ten minutes before the payment.
    created = klarna.create_session(
        **{
            "steps": [[0, "IN_PROGRESS"], [600, "COMPLETED"]],
            "started_ago": 600 + 60 * (60 - minutes_left),
            **script,
        }
    )
    shop.track(created["session_id"], kind=created["kind"])
    shop.wait_for_outcomes(created["session_id"])
    return created["session_id"], created["authorization_token"]


def events_of(shop: Deployment, session_id: str) -> list[tuple[str, int | None]]:
    """Return the session's events: the last part of the type, and the minutes left."""
    return [
        (event["type"].removeprefix("payment_session."), event["data"].get("minutes_left"))
        for event in shop.received_of(session_id)
    ]


def wait_until_events_of(
    shop: Deployment, session_id: str, *events: tuple[str, int | None]
) -> list[tuple[str, int | None]]:
    eventually(
        lambda: events_of(shop, session_id) == list(events), because=f"{events} are delivered"
    )
    return events_of(shop, session_id)


def let_pass(shop: Deployment, session_id: str, *, minutes: float) -> None:
    """Shift the times of this authorization, as if time had passed."""
    shop.query(
        "UPDATE payment_sessions SET"
        " authorization_expires_at = authorization_expires_at - %s * interval '1 min',"
        " next_warning_at = next_warning_at - %s * interval '1 min' WHERE session_id = %s",
        minutes,
        minutes,
        session_id,
    )


def test_a_missing_order_is_warned_of_with_20_10_and_5_minutes_left_and_when_it_is_too_late(
    shop: Deployment, klarna: SandboxClient
):
    """With two beats, each event is sent once."""
    session_id, token = pay(shop, klarna, minutes_left=25)
    expected = [AUTHORIZED]

    for minutes, minutes_left in ((5.5, 20), (10, 10), (5, 5)):
        let_pass(shop, session_id, minutes=minutes)
        expected.append(("authorization_expiring", minutes_left))
        wait_until_events_of(shop, session_id, *expected)
    let_pass(shop, session_id, minutes=5)
    wait_until_events_of(shop, session_id, *expected, LAPSED)

    first, *later = shop.received_of(session_id)
    assert first["data"]["authorization_token"] == token
    assert token not in str(later)
    assert [event["sequence"][-1] for event in (first, *later)] == ["1", "2", "3", "4", "5"]
    ids = [e["id"] for e in shop.received() if e["subject"] == session_id]
    assert len(ids) == len(set(ids)) == 5
    for line in ("authorization_expiring", "authorization_lapsed"):
        assert line in shop.logs()


@pytest.mark.parametrize(
    ("minutes_left", "event"),
    [(18.9, ("authorization_expiring", 19)), (3.9, ("authorization_expiring", 4)), (-5, LAPSED)],
)
def test_of_a_payment_that_is_seen_late_only_the_most_urgent_is_events_of(
    shop: Deployment, klarna: SandboxClient, minutes_left: float, event: tuple[str, int | None]
):
    session_id, _ = pay(shop, klarna, minutes_left=minutes_left)

    assert wait_until_events_of(shop, session_id, AUTHORIZED, event)


def test_the_shops_confirmation_stops_the_clock(shop: Deployment, klarna: SandboxClient):
    session_id, _ = pay(shop, klarna, minutes_left=18.9)
    wait_until_events_of(shop, session_id, AUTHORIZED, ("authorization_expiring", 19))

    shop.send("payment_sessions.confirm_order", session_id, "order-17")
    shop.wait_for_confirmation(session_id, "order-17")
    let_pass(shop, session_id, minutes=30)

    # The next one has its event: the confirmed one was left out.
    other, _ = pay(shop, klarna, minutes_left=-1)
    wait_until_events_of(shop, other, AUTHORIZED, LAPSED)
    assert events_of(shop, session_id) == [AUTHORIZED, ("authorization_expiring", 19)]


def test_a_session_whose_order_is_at_klarna_is_waited_for_by_nobody(
    shop: Deployment, klarna: SandboxClient
):
    placed, _ = pay(shop, klarna, minutes_left=-1, carries="both")
    complete, _ = pay(
        shop, klarna, minutes_left=-1, kind="kp", steps=[[0, "complete"]], carries="neither"
    )

    other, _ = pay(shop, klarna, minutes_left=-1)
    wait_until_events_of(shop, other, AUTHORIZED, LAPSED)
    assert events_of(shop, placed) == [AUTHORIZED, ("order_placed", None)]
    assert events_of(shop, complete) == [("completed", None)]
