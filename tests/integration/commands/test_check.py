"""`session-worker check`: each fault that it can find is named, with what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from config.settings import Settings, parse
from devkit.embedded import EmbeddedServers
from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.databases import Databases
from tests.support.roles import Roles
from tests.support.stored import Stored
from worker.commands import check as checking
from worker.commands import checked_klarna
from worker.commands.checked_postgres import skew_fault
from worker.commands.checked_redis import faults_of

Faults = Callable[..., list[str]]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def faults(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Faults:
    """What check finds wrong where these settings differ from a right deployment's."""

    def look(**changed: str) -> list[str]:
        for name, value in (environment | changed).items():
            monkeypatch.setenv(name, value)
        code = checking.check(as_json=True)
        findings = json.loads(capsys.readouterr().out)["findings"]
        wrong = [f"{f['subject']}: {f['text']}" for f in findings if not f["ok"]]
        assert code == (1 if wrong else 0)
        assert "canary" not in str(findings)
        return wrong

    return look


def at(url: str, **parts: str) -> str:
    """The URL with another `login`, `place` or `path`."""
    split = urlsplit(url)
    login, _, place = split.netloc.rpartition("@")
    netloc = f"{parts.get('login', login)}@{parts.get('place', place)}"
    return split._replace(netloc=netloc, path=parts.get("path", split.path)).geturl()


def only(found: list[str], *words: str) -> None:
    (fault,) = found
    assert all(word in fault for word in words), fault


def test_nothing_is_wrong_with_a_right_deployment(faults: Faults):
    assert faults() == []


# --- settings


def test_misspelt_settings_are_warned_with_what_was_meant(environment: dict[str, str]):
    """A warning is no fault: another program may read them."""
    wrong = {"EVENT_SINK": "canary", "POLL_REQUEST_PER_SESSION": "20", "OTEL_SERVICE_NAME": "x"}

    ran = session_worker(environment | wrong, "check")
    as_json = session_worker(environment | wrong, "check", "--json").json()

    warnings = [line for line in ran.out.splitlines() if line.startswith("warn  settings")]
    assert (ran.code, len(warnings)) == (0, 2)
    assert warnings[0].startswith("warn  settings: EVENT_SINK is no setting")
    assert warnings[0].endswith("did you mean EVENT_SINKS?")
    assert warnings[1].endswith("did you mean POLL_REQUESTS_PER_SESSION?")
    assert {f["ok"] for f in as_json["findings"] if f["warning"]} == {True}
    assert as_json["ok"] is True


def test_a_misspelt_part_of_an_account_is_a_fault_in_our_words(environment: dict[str, str]):
    wrong = {"KLARNA_ACCOUNTS__NORDIC_USERNAME": "canary", "EVENT_SINK": "canary"}

    ran = session_worker(environment | wrong, "check")

    assert ran.code == 2
    assert (
        "fault settings: KLARNA_ACCOUNTS__NORDIC_USERNAME: is no setting: did you mean "
        "KLARNA_ACCOUNTS__NORDIC__USERNAME?"
    ) in ran.out
    assert "did you mean EVENT_SINKS?" in ran.out
    assert "canary" not in ran.out + ran.err


# --- Postgres


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"login": "app:canary-wrong"}, ("refuses the user or the password in DATABASE_URL",)),
        ({"path": "/nothing"}, ("has no database of that name: create it",)),
        ({"place": "127.0.0.1:9"}, ("is not there: is it up", "port in DATABASE_URL")),
        ({"place": "no-such-host.invalid:5432"}, ("cannot be found: correct the host's name",)),
    ],
    ids=["password", "database", "port", "host"],
)
def test_postgres_is_not_reached(
    faults: Faults, database_url: str, wrong: Mapping[str, str], words: tuple[str, ...]
):
    only(faults(DATABASE_URL=at(database_url, **wrong)), "postgres: ", *words)


def test_postgres_speaks_no_tls(faults: Faults, database_url: str):
    only(faults(DATABASE_URL=f"{database_url}?sslmode=require"), "remove sslmode from DATABASE_URL")


def test_postgres_lets_a_role_in_that_may_not_connect(faults: Faults, database_url: str):
    roles = Roles(database_url)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(roles.name("worker"))))
    found = faults(DATABASE_URL=roles.url("worker"))
    roles.drop()

    only(found, "does not let DATABASE_URL's user log in: `ALTER ROLE ... LOGIN`")


def test_migrations_are_missing(faults: Faults, databases: Databases):
    found = faults(DATABASE_URL=databases.create_empty())

    only(found, "postgres: is not migrated: run `alembic upgrade head`")


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("3513b6a5f3ba", "run `alembic upgrade head`"),
        ("c0ffee", "which belongs to a later release: run that release"),
    ],
    ids=["earlier", "later"],
)
def test_migrations_of_another_release(
    faults: Faults, database_url: str, revision: str, words: str
):
    """An older program must not be asked to migrate a newer database."""
    stored = Stored(database_url)
    stored.rows("UPDATE alembic_version SET version_num = %s", revision)
    stored.close()

    only(faults(), f"is at migration {revision}", words)


def test_the_role_may_read_and_not_write(faults: Faults, database_url: str):
    """The right role for looking, the wrong one for a worker."""
    roles = Roles(database_url)
    found = faults(DATABASE_URL=roles.url("reader"))
    with psycopg.connect(database_url, autocommit=True) as owner:
        revoke = sql.SQL("REVOKE INSERT ON status_transitions FROM {}")
        owner.execute(revoke.format(sql.Identifier(roles.name("worker"))))
    lacking = faults(DATABASE_URL=roles.url("worker"))
    roles.grant()
    right = faults(DATABASE_URL=roles.url("worker"))
    roles.drop()

    assert right == []
    only(lacking, "(INSERT on status_transitions): run docs/roles.sql")
    assert "more): run docs/roles.sql" in "".join(found)


def test_the_role_may_not_even_read(faults: Faults, database_url: str):
    roles = Roles(database_url)
    found = faults(DATABASE_URL=roles.url("shop"))
    roles.drop()

    only(found, "does not let DATABASE_URL's role read: run docs/roles.sql")


def test_clocks_that_differ():
    assert skew_fault(NOON, NOON + timedelta(seconds=5)) is None
    ahead = "this machine's clock is 60 s ahead of Postgres': set both by NTP"
    assert skew_fault(NOON, NOON + timedelta(minutes=1)) == ahead
    behind = "this machine's clock is 6 s behind Postgres': set both by NTP"
    assert skew_fault(NOON, NOON - timedelta(seconds=6)) == behind


def test_open_sessions_of_an_account_that_is_not_configured(faults: Faults, database_url: str):
    stored = Stored(database_url)
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url)"
        " VALUES ('s1', 'nordic', 'hpp', 'https://klarna.test/s1')"
    )
    stored.close()

    only(
        faults(),
        "account nordic: is not configured, and 1 open session needs it",
        "set KLARNA_ACCOUNTS__NORDIC__USERNAME and KLARNA_ACCOUNTS__NORDIC__PASSWORD",
    )


# --- Redis


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """One that may be set up wrongly."""
    with EmbeddedServers(postgres=False) as servers:
        yield servers.redis_url


@pytest.mark.parametrize(
    ("login", "place", "words"),
    [
        (":canary-wrong", "{place}", "redis: refuses the password in REDIS_URL"),
        ("", "{place}", "redis: refuses the password in REDIS_URL, or needs one"),
        (":canary", "127.0.0.1:9", "redis: connection refused: is it running"),
    ],
    ids=["wrong", "none", "port"],
)
def test_redis_is_not_reached(faults: Faults, redis_url: str, login: str, place: str, words: str):
    """The broker is the same server: it has a line of its own."""
    server = urlsplit(redis_url).netloc.rpartition("@")[2]
    url = at(redis_url, login=login, place=place.format(place=server))

    fault, broker = faults(REDIS_URL=url)

    assert fault.startswith(words)
    assert broker.startswith("broker: cannot be reached: is it running, and are host")


def test_another_broker_is_named_by_its_variable(faults: Faults):
    only(faults(BROKER_URL="redis://127.0.0.1:9/0"), "broker: cannot be reached", "BROKER_URL")


def test_redis_drops_keys_or_keeps_them_in_memory_alone(faults: Faults, own_redis: str):
    with redis.Redis.from_url(own_redis) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
    drops, forgets = faults(REDIS_URL=own_redis)
    with redis.Redis.from_url(own_redis) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")

    assert drops.startswith("redis: evicts keys when its memory is full (allkeys-lru)")
    assert "set `maxmemory-policy noeviction`" in drops
    assert forgets.startswith("redis: keeps queued messages and events only in memory")
    assert "set `appendonly yes`" in forgets
    assert faults(REDIS_URL=own_redis) == []


def test_redis_is_too_old_or_has_a_replica():
    kept = {"redis_version": "7.4.1", "aof_enabled": 0, "connected_slaves": 1}

    assert list(faults_of(kept)) == []
    assert list(faults_of({"redis_version": "6.0.16"})) == [
        "is version 6.0.16: 6.2 or later is needed"
    ]
    assert list(faults_of(kept | {"role": "slave"})) == [
        "is a replica, which accepts no writes: name the primary"
    ]


# --- Klarna


def test_klarna_refuses_the_credentials(faults: Faults):
    only(
        faults(KLARNA_PASSWORD="canary-wrong"),
        "account default: ",
        "refuses the credentials (HTTP 401): correct KLARNA_USERNAME and KLARNA_PASSWORD",
    )


def test_a_further_account_is_named_by_its_variables(faults: Faults, environment: dict[str, str]):
    account = {
        "KLARNA_ACCOUNTS__NORDIC__USERNAME": "user",
        "KLARNA_ACCOUNTS__NORDIC__PASSWORD": "canary-wrong",
        "KLARNA_ACCOUNTS__NORDIC__BASE_URL": environment["KLARNA_BASE_URL"],
    }

    only(faults(**account), "account nordic: ", "correct KLARNA_ACCOUNTS__NORDIC__USERNAME and")


def test_an_account_without_a_base_url_is_warned_of(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Its credentials may go to several hosts. The proxy keeps this test away from them."""
    origins = "https://api.klarna.com,https://api-na.klarna.com,http://127.0.0.1:9"
    changed = {"KLARNA_ALLOWED_ORIGINS": origins, "KLARNA_PROXY_URL": "http://127.0.0.1:9"}
    for name, value in (environment | changed).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KLARNA_BASE_URL")

    (probe,) = checked_klarna.account_probes(parse(Settings))
    findings = list(probe.findings())

    (warning,) = [finding.warning for finding in findings if finding.warning]
    assert warning.startswith("KLARNA_BASE_URL is not set")
    assert "go to https://api.klarna.com, https://api-na.klarna.com: set it" in warning


def test_an_account_with_a_base_url_is_not_warned_of(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    (probe,) = checked_klarna.account_probes(parse(Settings))
    findings = list(probe.findings())

    assert [(finding.fault, finding.warning) for finding in findings] == [(None, None)]


def test_klarna_is_not_reached(faults: Faults):
    away = {"KLARNA_BASE_URL": "http://127.0.0.1:9", "KLARNA_ALLOWED_ORIGINS": "http://127.0.0.1:9"}

    only(
        faults(**away),
        "account default: http://127.0.0.1:9 cannot be reached",
        "is KLARNA_BASE_URL correct? Behind a proxy, set KLARNA_PROXY_URL",
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (503, "responds with HTTP 503: Klarna's fault, try again"),
        (418, "does not respond like Klarna"),
        (403, "refuses the credentials (HTTP 403)"),
        (429, "limits requests now (HTTP 429): try again"),
    ],
)
def test_klarna_answers_otherwise(faults: Faults, sandbox: SandboxClient, status: int, words: str):
    sandbox.add_fault("status", code=status)
    found = faults()
    sandbox.clear_faults()

    only(found, "account default: ", words)
