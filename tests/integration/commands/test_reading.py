"""The commands over real servers: what they tell, and how they end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import redis
from typer.testing import CliRunner

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.databases import Databases
from tests.support.shop_systems import commerce_layer_environment, payway_environment
from tests.support.stored import Stored
from worker.cli import app

ID = "39a1c773-bafd-754d-af1f-b30c592f1267"


@pytest.fixture
def stored(environment: dict[str, str]) -> Iterator[Stored]:
    opened = Stored(environment["DATABASE_URL"])
    opened.add_worker_and_beat()
    yield opened
    opened.close()


@pytest.fixture
def finished(stored: Stored) -> str:
    """A completed session with two transitions, one event, delivered to one sink of two."""
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, reference, status,"
        " outcome, finished_at, next_poll_at, poll_count, transition_count, event_count,"
        " authorization_token)"
        " VALUES (%s, 'default', 'hpp', 'https://klarna.test/1', 'order-1', 'COMPLETED',"
        " 'completed', now(), NULL, 7, 2, 1, 'encrypted-canary')",
        ID,
    )
    stored.rows(
        "INSERT INTO status_transitions VALUES"
        " (%s, 1, NULL, 'WAITING', now() - interval '60 s', now() - interval '59 s'),"
        " (%s, 2, 'WAITING', 'COMPLETED', now() - interval '10 s', now() - interval '7.5 s')",
        ID,
        ID,
    )
    stored.rows(
        "INSERT INTO outbox_messages (event_id, session_id, sequence, event_type, payload)"
        " VALUES ('99d61c00-8d51-51c8-a72a-a619a578db67', %s, 1, 'payment_session.authorized',"
        " '{}')",
        ID,
    )
    for sink, delivered, error in (("redis_stream", True, None), ("celery", False, "broker")):
        stored.rows(
            "INSERT INTO outbox_deliveries (event_id, sink, session_id, sequence, attempts,"
            " delivered_at, last_error) VALUES ('99d61c00-8d51-51c8-a72a-a619a578db67', %s, %s, 1,"
            " 2, CASE WHEN %s THEN now() END, %s)",
            sink,
            ID,
            delivered,
            error,
        )
    return ID


def test_show_tells_the_whole_story_to_people(environment: dict[str, str], finished: str):
    shown = session_worker(environment, "show", finished)

    assert shown.code == 0
    for part in ("order-1", "COMPLETED", "completed", "WAITING", "2.5", "authorized", "broker"):
        assert part in shown.out
    assert "canary" not in shown.out


def test_show_tells_the_whole_story_to_programs(environment: dict[str, str], finished: str):
    story = session_worker(environment, "show", finished, "--json").json()

    assert (story["outcome"], story["poll_count"]) == ("completed", 7)
    assert [t["to_status"] for t in story["transitions"]] == ["WAITING", "COMPLETED"]
    assert story["transitions"][1]["detection_delay_seconds"] == pytest.approx(2.5)
    assert [(d["sink"], d["attempts"]) for d in story["deliveries"]] == [
        ("celery", 2),
        ("redis_stream", 2),
    ]
    assert "authorization_token" not in story


def test_show_tells_when_its_latest_polls_were(environment: dict[str, str], stored: Stored):
    """The oldest first; to programs all that are kept, to people as many as a line holds."""
    stored.add_session("s1", polled_seconds=[75, ~62, 3, *range(9)][:11])
    stored.rows("UPDATE payment_sessions SET tracked_at = '2026-03-01T12:00:00Z'")

    story = session_worker(environment, "show", "s1", "--json").json()
    shown = session_worker(environment, "show", "s1")

    assert "polled_seconds" not in story
    assert story["polls"][-2:] == [
        {"at": "2026-03-01T12:01:02Z", "failed": True},
        {"at": "2026-03-01T12:01:15Z", "failed": False},
    ]
    assert len(story["polls"]) == 11
    (line,) = [line for line in shown.out.splitlines() if line.startswith("latest polls")]
    assert line.endswith("12:00:03, 12:01:02 failed, 12:01:15")
    assert line.count(":") == 20


@pytest.mark.parametrize("command", ["show", "nudge"])
def test_a_session_that_nobody_follows_is_named_with_what_to_do(
    environment: dict[str, str], command: str
):
    ran = session_worker(environment, command, "unknown")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "unknown is not tracked; `session-worker track unknown` tracks it.\n"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--outcome", "bogus", "choose from completed, cancelled, disabled, expired, not_found"),
        ("--outcome", "COMPLETED", "did you mean completed?"),
        ("--outcome", "complted", "did you mean completed?"),
        ("--status", "completed", "did you mean COMPLETED?"),
        ("--status", "in_progress", "did you mean IN_PROGRESS?"),
        ("--status", "bogus", "choose from BACK, CANCELLED, "),
    ],
)
def test_list_names_the_choices_where_there_is_no_such_value(
    environment: dict[str, str], finished: str, option: str, value: str, words: str
):
    ran = session_worker(environment, "list", option, value, "--json")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{option}: there is no {value}: {words}")
    right = {"--outcome": "completed", "--status": "COMPLETED"}[option]
    assert finished in session_worker(environment, "list", option, right).out


def test_list_takes_a_status_that_klarna_alone_knows(
    environment: dict[str, str], finished: str, stored: Stored
):
    stored.rows(
        "UPDATE payment_sessions SET status = 'PARKED', outcome = NULL, finished_at = NULL,"
        " next_poll_at = now()"
    )

    assert finished in session_worker(environment, "list", "--status", "PARKED").out
    assert session_worker(environment, "list", "--status", "WAITING", "--json").json() == []


def test_list_and_stats_count_what_there_is(environment: dict[str, str], finished: str):
    assert finished in session_worker(environment, "list").out
    assert session_worker(environment, "list", "--open", "--json").json() == []
    (row,) = session_worker(environment, "list", "--outcome", "completed", "--json").json()
    assert row["reference"] == "order-1"

    stats = session_worker(environment, "stats", "--json").json()
    (counted,) = stats["sessions"]
    assert (counted["state"], counted["sessions"]) == ("completed", 1)
    waiting = {row["sink"]: row["waiting"] for row in stats["outbox"]}
    assert waiting == {"celery": 1, "redis_stream": 0}
    people = session_worker(environment, "stats")
    assert (people.code, "redis_stream" in people.out) == (0, True)


def test_stats_tell_the_last_days_detection_delays_by_status(
    environment: dict[str, str], stored: Stored, finished: str
):
    """Neither a first transition, nor one without Klarna's time, nor an old one is in them."""
    stored.rows(
        "INSERT INTO status_transitions"
        " (session_id, sequence, from_status, to_status, occurred_at, observed_at) VALUES"
        " (%s, 3, 'BACK', 'COMPLETED', now() - interval '1 h', now() - interval '59 min'),"
        " (%s, 4, 'BACK', 'COMPLETED', now(), now()),"
        " (%s, 5, 'BACK', 'COMPLETED', now() - interval '3 d', now() - interval '2 d')",
        *(finished,) * 3,
    )

    stats = session_worker(environment, "stats", "--json").json()

    (delays,) = stats["detection_delays"]
    assert (delays["status"], delays["transitions"], delays["timed"]) == ("COMPLETED", 3, 2)
    percentiles = [delays[f"p{share}_seconds"] for share in (50, 95, 99)]
    assert percentiles == pytest.approx([31.25, 57.125, 59.425])
    (seen,) = stats["detection_histogram"]
    assert (seen["within_2_s"], seen["within_5_s"], seen["within_60_s"]) == (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("a/b",), "session_id: must be"),
        (("",), "session_id: is missing"),
        ((ID, "--session-url", f"https://evil.test/{ID}"), "session_url: is not on an allowed"),
        ((ID, "--expires-at", "2030-01-01T00:00:00"), "expires_at: must name its time zone"),
        ((ID, "--expires-at", "tomorrow"), "expires_at: must be an ISO 8601 time"),
        ((ID, "--account", "nobody"), "account: is not configured"),
        ((ID, "--kind", "checkout"), "kind: must be hpp or kp"),
        ((ID, "--reference", "x" * 256), "reference: must be printable text"),
    ],
)
def test_a_wrong_argument_ends_track_with_one_line_and_sends_nothing(
    environment: dict[str, str], arguments: tuple[str, ...], fault: str
):
    ran = CliRunner().invoke(app, ["track", *arguments], env=environment)

    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ran.stderr.startswith(fault)
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        assert client.llen("payment-sessions") == 0


def test_track_and_nudge_enqueue_what_a_shop_would(environment: dict[str, str], finished: str):
    assert session_worker(environment, "track", "new", "--json").json()["enqueued"] is True
    assert "Enqueued" in session_worker(environment, "nudge", finished).out
    assert "Enqueued" in session_worker(environment, "poll-now", finished).out
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        assert client.llen("payment-sessions") == 3


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (("list",), "DATABASE_URL: Postgres cannot be reached"),
        (("rotate-keys",), "DATABASE_URL: Postgres cannot be reached"),
        (("erase", ID, "--yes"), "DATABASE_URL: Postgres cannot be reached"),
        (("track", ID), "REDIS_URL: the broker cannot be reached"),
    ],
)
def test_a_server_that_is_away_is_one_line(
    environment: dict[str, str], command: tuple[str, ...], fault: str
):
    away = {
        "DATABASE_URL": "postgresql://app:canary@127.0.0.1:9/postgres",
        "REDIS_URL": "redis://:canary@127.0.0.1:9/0",
    }

    ran = session_worker(environment | away, *command)

    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith(fault)
    assert "canary" not in ran.err + ran.out


def test_erase_gives_up_on_a_silent_redis_with_one_line(
    environment: dict[str, str], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
):
    """Without these timeouts it would wait for ever."""
    monkeypatch.setattr("worker.commands.secrets.REDIS_TIMEOUT_SECONDS", 0.2)
    silent = {"REDIS_URL": f"redis://127.0.0.1:{listener.getsockname()[1]}/0"}

    ran = CliRunner().invoke(app, ["erase", ID, "--yes"], env=environment | silent)

    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert ran.stderr.startswith("REDIS_URL: Redis cannot be reached")


@pytest.mark.usefixtures("stored")
def test_check_has_a_line_for_everything_that_is_right(environment: dict[str, str]):
    ran = session_worker(environment, "check")

    assert (ran.code, ran.err) == (0, "")
    assert all(line.startswith("ok ") for line in ran.out.splitlines())
    for subject in (
        "settings",
        "postgres: migrated",
        "redis: version",
        "broker",
        "account default",
        "worker: 1 running 0.1.0",
        "beat: 1 running 0.1.0",
        "rehearsal: a made-up session was claimed and recorded with 1 of its events' deliveries",
        "sink redis_stream: stream payment-session-events",
    ):
        assert subject in ran.out


def test_check_asks_shop_systems_for_an_access_token(
    environment: dict[str, str], sandbox: SandboxClient
):
    """Wrong credentials are named by their settings."""
    sinks = {"EVENT_SINKS": "commerce_layer,payway"} | payway_environment(sandbox.url)
    systems = sinks | commerce_layer_environment(sandbox.url)
    right = session_worker(environment | systems, "check")
    wrong = session_worker(
        environment | systems | {"PAYWAY_CLIENT_SECRET": "canary-secret"}, "check", "--json"
    )

    assert right.code == 0
    assert "sink commerce_layer: grants an access token" in right.out
    assert "sink payway: grants an access token" in right.out
    assert wrong.code == 1
    (fault,) = [f["text"] for f in wrong.json()["findings"] if not f["ok"]]
    assert fault.startswith("no access token: HTTP 401: check PAYWAY_CLIENT_ID, ")
    assert "canary" not in wrong.out + wrong.err


def test_check_names_every_fault_and_its_variable(
    environment: dict[str, str], databases: Databases
):
    empty = databases.create_empty()
    wrong = {"DATABASE_URL": empty, "REDIS_URL": "redis://127.0.0.1:9/0"}

    ran = session_worker(environment | wrong, "check", "--json")

    faults = [f["text"] for f in ran.json()["findings"] if not f["ok"]]
    assert ran.code == 1
    assert faults == [
        "is not migrated: run `alembic upgrade head`",
        "connection refused: is it running, and are host and port in REDIS_URL correct?",
        "cannot be reached: is it running, and are host, port and password correct? (REDIS_URL)",
    ]


def test_check_of_wrong_settings_has_a_line_for_each(environment: dict[str, str]):
    ran = session_worker(environment | {"POLL_LEASE_SECONDS": "x", "EVENT_SINKS": "fax"}, "check")

    assert ran.code == 2
    assert "POLL_LEASE_SECONDS" in ran.out
    assert "EVENT_SINKS" in ran.out


def test_an_account_that_open_sessions_name_and_the_settings_do_not_is_a_fault(
    environment: dict[str, str], stored: Stored
):
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url)"
        " VALUES (%s, 'closed', 'hpp', 'https://klarna.test/1')",
        ID,
    )

    for command in ("check", "health"):
        ran = session_worker(environment, command)
        assert ran.code == 1
        assert "account closed: is not configured, and 1 open session needs it" in ran.out


def test_health_is_progress(environment: dict[str, str], stored: Stored):
    assert session_worker(environment, "health").code == 0

    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, next_poll_at)"
        " VALUES (%s, 'default', 'hpp', 'https://klarna.test/1', now() - interval '5 min')",
        ID,
    )
    late = session_worker(environment, "health", "--json")
    assert (late.code, late.json()["ok"]) == (1, False)
    assert session_worker(environment, "health", "--late", "3600").code == 0


def test_a_paused_account_is_reported_and_its_sessions_are_not_late(
    environment: dict[str, str], stored: Stored
):
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, next_poll_at)"
        " VALUES (%s, 'default', 'hpp', 'https://klarna.test/1', now() - interval '5 min')",
        ID,
    )
    stored.rows(
        "INSERT INTO accounts (account, version, paused_until, refusals)"
        " VALUES ('default', 1, now() + interval '1 min', 3)"
    )

    ran = session_worker(environment, "health")

    assert ran.code == 1
    assert "account default: is refused by Klarna" in ran.out
    assert "polls: none due" in ran.out


def test_events_that_nobody_takes_are_a_fault(
    environment: dict[str, str], stored: Stored, finished: str
):
    stored.rows(
        "UPDATE outbox_deliveries SET due_since = now() - interval '10 min' WHERE session_id = %s",
        finished,
    )

    ran = session_worker(environment | {"EVENT_SINKS": "celery"}, "health")

    assert (ran.code, "events to celery: 1 pending, the oldest for 60" in ran.out) == (1, True)
