"""`session-worker events`: the outbox listed, and deliveries sent again, over a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from tests.support.command import Ran
from tests.support.stored import Stored
from tests.support.webhook_receiver import a_secret
from worker.cli import app

AUTHORIZED = "payment_session.authorized"
BOTH = ("redis_stream", "webhook")
GONE = "HTTP 410: the endpoint is gone"


@pytest.fixture
def stored(environment: dict[str, str]) -> Iterator[Stored]:
    opened = Stored(environment["DATABASE_URL"])
    opened.add_worker_and_beat()
    yield opened
    opened.close()


@pytest.fixture
def configured(environment: dict[str, str]) -> dict[str, str]:
    """A deployment with one webhook endpoint."""
    return environment | {
        "EVENT_SINKS": "redis_stream,webhook",
        "WEBHOOK_URL": "https://shop.example/hook",
        "WEBHOOK_SECRETS": a_secret(),
    }


def end(stored: Stored, event_id: object, column: str, sink: str = "webhook") -> None:
    """Let a delivery have ended: `delivered_at` or `dead_at`."""
    stored.rows(
        "UPDATE outbox_deliveries SET attempts = 7, last_error = 'HTTP 500',"
        " delivered_at = CASE WHEN %s = 'delivered_at' THEN now() END,"
        " dead_at = CASE WHEN %s = 'dead_at' THEN now() END"
        " WHERE event_id = %s AND sink = %s",
        column,
        column,
        event_id,
        sink,
    )


def events(environment: dict[str, str], *arguments: str) -> Ran:
    """Run the command in this process: each start of Python costs a second."""
    ended = CliRunner().invoke(app, ["events", *arguments], env=environment)
    return Ran(ended.exit_code, ended.stdout, ended.stderr)


# --- list, show, dead


def test_list_tells_each_delivery_and_what_it_waits_for(
    environment: dict[str, str], stored: Stored
):
    stored.add_session("s1")
    first, second = (stored.add_message("s1", n, sinks=BOTH) for n in (1, 2))
    end(stored, first, "delivered_at", "redis_stream")

    rows = events(environment, "list", "--json").json()

    states = {(row["event_id"], row["sink"]): (row["state"], row["waits_for"]) for row in rows}
    assert states == {
        (str(first), "redis_stream"): ("delivered", None),
        (str(first), "webhook"): ("pending", None),
        (str(second), "redis_stream"): ("pending", None),
        (str(second), "webhook"): ("pending", str(first)),
    }
    assert "waits for event" in events(environment, "list", "--sink", "webhook").out


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--session", "s1"), {1, 2}),
        (("--session", "s2"), {3}),
        (("--type", "authorized"), {1}),
        (("--type", "payment_session.cancelled"), {2, 3}),
        (("--since", "1h"), {1, 3}),
        (("--until", "60m"), {2}),
        (("--since", "3d", "--until", "2020-01-01T00:00:00Z"), set()),
        (("--state", "dead"), {1}),
        (("--state", "delivered"), {2}),
        (("--state", "pending"), {3}),
        (("--sink", "celery"), set()),
        (("--limit", "1"), {3}),
    ],
)
def test_list_is_filtered(
    environment: dict[str, str], stored: Stored, filters: tuple[str, ...], found: set[int]
):
    stored.add_session("s1")
    stored.add_session("s2")
    ids = {
        1: stored.add_message("s1", 1, sinks=("webhook",), event_type=AUTHORIZED),
        2: stored.add_message("s1", 2, sinks=("webhook",)),
        3: stored.add_message("s2", 1, sinks=("webhook",)),
    }
    end(stored, ids[1], "dead_at")
    end(stored, ids[2], "delivered_at")
    age = "UPDATE outbox_messages SET created_at = created_at - interval '2 h' WHERE event_id = %s"
    stored.rows(age, ids[2])

    rows = events(environment, "list", "--json", *filters).json()

    assert {row["event_id"] for row in rows} == {str(ids[number]) for number in found}


def test_an_event_that_no_sink_takes_is_listed_all_the_same(
    environment: dict[str, str], stored: Stored
):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=())

    (row,) = events(environment, "list", "--json").json()

    assert (row["event_id"], row["sink"], row["state"]) == (str(event_id), None, None)
    assert "no sink accepts it" in events(environment, "list").out


def test_show_tells_the_event_and_its_deliveries(environment: dict[str, str], stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=BOTH, event_type=AUTHORIZED)
    end(stored, event_id, "dead_at")

    event = events(environment, "show", str(event_id), "--json").json()
    people = events(environment, "show", str(event_id))

    assert event["payload"]["data"] == {"session_id": "s1"}
    assert [(d["sink"], d["attempts"], d["last_error"]) for d in event["deliveries"]] == [
        ("redis_stream", 0, None),
        ("webhook", 7, "HTTP 500"),
    ]
    assert people.code == 0
    assert "HTTP 500" in people.out


def test_dead_lists_dead_deliveries_and_says_when_there_is_none(
    environment: dict[str, str], stored: Stored
):
    assert "none match" in events(environment, "dead").out
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=BOTH)
    end(stored, event_id, "dead_at")

    (row,) = events(environment, "dead", "--json").json()

    assert (row["event_id"], row["sink"]) == (str(event_id), "webhook")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("list", "--state", "lost"), "--state: must be one of pending, delivered, dead"),
        (("list", "--type", "paid"), "--type: must be one of authorization_"),
        (("list", "--since", "yesterday"), "--since: must be an ISO 8601 time, or a duration"),
        (("list", "--until", "2026-01-01T00:00:00"), "--until: must name its time zone"),
        (("list", "--event", "1"), "--event: must be an event id, a UUID"),
        (("show", "1"), "EVENT_ID: must be an event id, a UUID"),
        (("replay",), "Name the events to replay by --event,"),
        (("replay", "--yes"), "Name the events to replay by --event,"),
    ],
)
def test_a_wrong_filter_is_one_line(
    environment: dict[str, str], arguments: tuple[str, ...], fault: str
):
    ran = events(environment, *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(fault)
    assert ran.err.count("\n") == 1


def test_an_event_that_is_not_stored_is_named_with_what_to_do(environment: dict[str, str]):
    ran = events(environment, "show", "0f0f6d0e-6b0c-5f0a-8a52-3b6a3f1f7a11")

    assert ran.code == 1
    assert ran.err == (
        "0f0f6d0e-6b0c-5f0a-8a52-3b6a3f1f7a11 does not exist: "
        "`session-worker events list` lists events.\n"
    )


# --- replay


def test_replay_makes_dead_and_delivered_ones_due_under_their_ids(
    configured: dict[str, str], stored: Stored
):
    stored.add_session("s1")
    dead = stored.add_message("s1", 1, sinks=BOTH)
    delivered = stored.add_message("s1", 2, sinks=BOTH)
    end(stored, dead, "dead_at")
    end(stored, delivered, "delivered_at")
    stored.rows("UPDATE outbox_deliveries SET due_since = now() - interval '3 days'")

    ran = events(configured, "replay", "--session", "s1", "--sink", "webhook", "--yes", "--json")

    assert ran.json() == {"replayed": 2, "left_out": []}
    for event_id in (dead, delivered):
        row = stored.delivery(event_id, "webhook")
        assert (row["delivered_at"], row["dead_at"], row["attempts"]) == (None, None, 0)
        assert row["last_error"] is None
        due = "SELECT count(*) FROM outbox_deliveries WHERE due_since > now() - interval '1 min'"
        assert stored.value(due) == 2
    assert stored.delivery(dead)["attempts"] == 0


def test_replay_makes_a_pending_one_due_at_once(configured: dict[str, str], stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1, due_in=3600)

    events(configured, "replay", "--event", str(event_id), "--yes")

    due = "SELECT next_attempt_at <= now() FROM outbox_deliveries"
    assert stored.value(due)


def test_replay_asks_first_and_changes_nothing_on_no(configured: dict[str, str], stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    end(stored, event_id, "dead_at")

    ran = events(configured, "replay", "--state", "dead")

    assert ran.code == 1
    assert "Replay 1 event, 1 delivery?" in ran.err
    assert stored.delivery(event_id, "webhook")["dead_at"] is not None


def test_replay_of_nothing_says_so(configured: dict[str, str]):
    ran = events(configured, "replay", "--session", "s1")

    assert (ran.code, ran.out) == (0, "No events match; nothing is replayed.\n")


def test_an_authorized_event_without_its_token_is_left_out_and_it_says_so(
    configured: dict[str, str], stored: Stored
):
    stored.add_session("s1")
    event_id = stored.add_message("s1", 1, sinks=("webhook",), event_type=AUTHORIZED)
    end(stored, event_id, "dead_at")

    ran = events(configured, "replay", "--session", "s1", "--yes")
    assert ran.out.startswith("1 authorized event skipped: the token expired")
    assert stored.delivery(event_id, "webhook")["dead_at"] is not None

    ran = events(configured, "replay", "--session", "s1", "--without-token", "--yes")
    assert ran.out.startswith("1 delivery due now")
    assert stored.delivery(event_id, "webhook")["dead_at"] is None


def test_an_authorized_event_whose_token_is_there_is_replayed(
    configured: dict[str, str], stored: Stored
):
    stored.add_session("s1", authorization_token=b"encrypted")
    event_id = stored.add_message("s1", 1, sinks=("webhook",), event_type=AUTHORIZED)
    end(stored, event_id, "delivered_at")

    ran = events(configured, "replay", "--type", "authorized", "--yes", "--json")

    assert ran.json() == {"replayed": 1, "left_out": []}


def test_deliveries_to_a_sink_that_is_not_configured_are_left_out(
    configured: dict[str, str], stored: Stored
):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook:old",))
    end(stored, event_id, "dead_at", "webhook:old")

    ran = events(configured, "replay", "--session", "s1", "--yes")

    assert ran.out == "Deliveries to webhook:old skipped: EVENT_SINKS does not name them.\n"
    assert stored.delivery(event_id, "webhook:old")["dead_at"] is not None


def test_many_are_replayed_in_batches(configured: dict[str, str], stored: Stored):
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url)"
        " SELECT 's' || n, 'default', 'hpp', 'https://klarna.test' FROM generate_series(1, 2500) n"
    )
    stored.rows(
        "INSERT INTO outbox_messages (event_id, session_id, sequence, event_type, payload)"
        " SELECT gen_random_uuid(), session_id, 1, 'payment_session.expired', '{}'"
        " FROM payment_sessions"
    )
    stored.rows(
        "INSERT INTO outbox_deliveries (event_id, sink, session_id, sequence, delivered_at)"
        " SELECT event_id, 'webhook', session_id, 1, now() FROM outbox_messages"
    )

    ran = events(configured, "replay", "--since", "1d", "--yes", "--json")

    assert ran.json()["replayed"] == 2500


# --- health, stats, check


def health(environment: dict[str, str]) -> list[str]:
    """The faults that `health` names."""
    ran = CliRunner().invoke(app, ["health", "--json"], env=environment)
    found = json.loads(ran.stdout)["findings"]
    return [f"{each['subject']}: {each['text']}" for each in found if not each["ok"]]


def test_a_disabled_endpoint_is_a_fault_that_says_what_to_do(
    configured: dict[str, str], stored: Stored
):
    stored.add_message(stored.add_session("s1", due_in=600), 1, sinks=("webhook",))
    stored.rows("UPDATE outbox_deliveries SET due_since = now() - interval '1 h'")
    stored.rows(
        "INSERT INTO webhook_endpoints (sink, disabled_at, reason) VALUES ('webhook', now(), %s)",
        GONE,
    )

    assert health(configured) == [
        (
            f"events to webhook: disabled ({GONE}), 1 pending: once it is repaired, "
            "`session-worker events enable webhook`"
        )
    ]
    (row,) = json.loads(CliRunner().invoke(app, ["stats", "--json"], env=configured).stdout)[
        "outbox"
    ]
    assert (row["sink"], row["waiting"]) == ("webhook", 1)
    assert row["disabled_at"] is not None


def test_what_waits_for_a_sink_that_was_taken_away_is_a_fault_that_says_what_to_do(
    configured: dict[str, str], stored: Stored
):
    stored.add_message(stored.add_session("s1", due_in=600), 1, sinks=("webhook:old",))

    assert health(configured) == [
        (
            "events to webhook:old: 1 pending, but EVENT_SINKS does not name this sink: add it, or "
            "`session-worker events discard webhook:old`"
        )
    ]
    events(configured, "discard", "webhook:old", "--yes")
    assert health(configured) == []


def test_deliveries_that_died_in_the_last_day_are_a_fault(
    configured: dict[str, str], stored: Stored
):
    event_id = stored.add_message(stored.add_session("s1", due_in=600), 1, sinks=("webhook",))
    end(stored, event_id, "dead_at")

    assert health(configured) == [
        (
            "events to webhook: 1 delivery was given up in the last 24 h: "
            "`session-worker events dead --sink webhook`"
        )
    ]
    stored.rows("UPDATE outbox_deliveries SET dead_at = dead_at - interval '25 h'")
    assert health(configured) == []


def test_an_endpoint_that_no_sink_sends_to_is_found_by_check(configured: dict[str, str]):
    quiet = configured | {"EVENT_SINKS": "redis_stream"}

    said = CliRunner().invoke(app, ["check"], env=quiet)

    assert said.exit_code == 1
    assert "webhook: has a URL, but EVENT_SINKS does not name webhook" in said.stdout
    assert "shop.example" not in said.stdout


# --- enable, discard


def test_enable_lifts_a_disabling_and_begins_anew(environment: dict[str, str], stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",), due_in=3600)
    stored.rows("UPDATE outbox_deliveries SET due_since = now() - interval '5 days'")
    stored.rows(
        "INSERT INTO webhook_endpoints (sink, disabled_at, reason) VALUES ('webhook', now(), %s)",
        GONE,
    )
    assert "its sink is disabled" in events(environment, "list").out

    ran = events(environment, "enable", "webhook", "--json")

    assert ran.json() == {"sink": "webhook", "enabled": True, "pending": 1}
    assert stored.rows("SELECT * FROM webhook_endpoints WHERE disabled_at IS NOT NULL") == []
    row = stored.delivery(event_id, "webhook")
    assert (row["attempts"], row["dead_at"]) == (0, None)
    fresh = "SELECT due_since > now() - interval '1 min' AND next_attempt_at <= now() AS fresh"
    assert stored.value(f"{fresh} FROM outbox_deliveries")


def test_a_pause_that_a_sink_asked_for_is_listed_and_can_be_ended(
    environment: dict[str, str], stored: Stored
):
    """It may ask for an hour, which is all that a token has."""
    stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    stored.rows(
        "INSERT INTO webhook_endpoints (sink, held_until) VALUES ('webhook', now() + '1 hour')"
    )
    assert "its sink is paused until" in events(environment, "list").out

    assert events(environment, "enable", "webhook").code == 0

    assert stored.value("SELECT held_until FROM webhook_endpoints") is None
    assert "pending, due" in events(environment, "list").out


def test_enabling_what_is_not_disabled_says_so(environment: dict[str, str]):
    ran = events(environment, "enable", "webhook")

    assert ran.code == 1
    assert ran.err == ("webhook is neither disabled nor paused; see `session-worker stats`.\n")


def test_discard_gives_up_what_waits_for_a_sink(environment: dict[str, str], stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=BOTH)

    ran = events(environment, "discard", "webhook", "--yes", "--json")

    assert ran.json() == {"sink": "webhook", "discarded": 1}
    assert stored.delivery(event_id, "webhook")["last_error"] == "discarded by hand"
    assert stored.delivery(event_id, "webhook")["dead_at"] is not None
    assert stored.delivery(event_id)["dead_at"] is None
    assert events(environment, "discard", "webhook").out == "No pending deliveries to webhook.\n"
