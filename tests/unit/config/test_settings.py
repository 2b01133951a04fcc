"""The environment as settings: each variable's default, what it takes and what it refuses."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from config.settings import (
    BrokerSettings,
    DatabaseSettings,
    InvalidSettingsError,
    Settings,
    load,
    parse,
)

# The same in every test process: they are part of tests' names.
KEY, OLD_KEY = (
    "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=",
    "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=",
)
REQUIRED = {
    "DATABASE_URL": "postgresql://shop:canary-db@db.test/shop",
    "REDIS_URL": "redis://:canary-redis@redis.test/0",
    "KLARNA_USERNAME": "K123_abc",
    "KLARNA_PASSWORD": "canary-klarna",
    "TOKEN_ENCRYPTION_KEYS": KEY,
}
OURS = ("DATABASE_", "REDIS_", "BROKER_", "KLARNA_", "TOKEN_", "POLL_", "HTTP_", "EVENT_")
OURS_TOO = ("CELERY_", "WEBHOOK_", "RETENTION_")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(OURS + OURS_TOO):
            monkeypatch.delenv(name)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def shown(value: object) -> object:
    """Return a value with its secrets disclosed, to compare with."""
    if isinstance(value, tuple):
        return tuple(shown(part) for part in value)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def faults() -> list[str]:
    with pytest.raises(InvalidSettingsError) as refused:
        parse(Settings)
    assert str(refused.value) == "\n".join(refused.value.faults)
    return refused.value.faults


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("broker_url", None),
        ("http_timeout_seconds", 10.0),
        ("klarna_base_url", "https://api.klarna.com"),
        ("klarna_accounts", {}),
        ("klarna_proxy_url", None),
        (
            "klarna_allowed_origins",
            (
                "https://api.klarna.com",
                "https://api-na.klarna.com",
                "https://api-oc.klarna.com",
                "https://api.playground.klarna.com",
                "https://api-na.playground.klarna.com",
                "https://api-oc.playground.klarna.com",
            ),
        ),
        ("poll_lease_seconds", timedelta(seconds=30)),
        ("poll_tasks_per_tick", 16),
        ("poll_in_flight_per_account", 500),
        ("poll_expiry_grace_seconds", timedelta(seconds=30)),
        ("poll_max_interval_seconds", timedelta(seconds=2400)),
        ("poll_max_lifetime_seconds", timedelta(seconds=172_800)),
        ("poll_requests_per_session", 50.0),
        ("poll_policy_file", None),
        ("event_sinks", ("redis_stream",)),
        ("event_stream", "payment-session-events"),
        ("event_stream_retention_hours", 72),
        ("celery_event_task", "payment_session.event"),
        ("celery_event_queue", "celery"),
        ("retention_days", 30),
    ],
)
@pytest.mark.usefixtures("env")
def test_what_is_not_set_has_the_contracts_default(field: str, default: object):
    assert getattr(parse(Settings), field) == default


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("DATABASE_URL", "postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("DATABASE_URL", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("DATABASE_URL", "postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("REDIS_URL", "rediss://:p%5B@h:6380/1", "rediss://:p%5B@h:6380/1"),
        ("BROKER_URL", "amqp://u:p@h//", "amqp://u:p@h//"),
        ("BROKER_URL", "", None),
        ("KLARNA_USERNAME", "PK1_x", "PK1_x"),
        ("KLARNA_PASSWORD", "12345", "12345"),
        ("KLARNA_BASE_URL", "https://api-na.klarna.com/", "https://api-na.klarna.com"),
        ("KLARNA_PROXY_URL", "http://u:p@proxy.test:3128", "http://u:p@proxy.test:3128"),
        ("KLARNA_PROXY_URL", "", None),
        ("TOKEN_ENCRYPTION_KEYS", f" {KEY} , {OLD_KEY} ", (KEY, OLD_KEY)),
        ("POLL_LEASE_SECONDS", "15", timedelta(seconds=15)),
        ("POLL_TASKS_PER_TICK", "1", 1),
        ("POLL_IN_FLIGHT_PER_ACCOUNT", "100000", 100_000),
        ("POLL_EXPIRY_GRACE_SECONDS", "0", timedelta(0)),
        ("POLL_MAX_INTERVAL_SECONDS", "0.5", timedelta(milliseconds=500)),
        ("POLL_MAX_LIFETIME_SECONDS", "3600", timedelta(hours=1)),
        ("POLL_REQUESTS_PER_SESSION", "62.5", 62.5),
        ("POLL_POLICY_FILE", "", None),
        ("POLL_POLICY_FILE", "policy.jsonl", Path("policy.jsonl")),
        ("HTTP_TIMEOUT_SECONDS", "2.5", 2.5),
        ("EVENT_SINKS", "celery, redis_stream,", ("celery", "redis_stream")),
        ("EVENT_SINKS", "celery,celery", ("celery",)),
        ("EVENT_STREAM", "events", "events"),
        ("EVENT_STREAM_RETENTION_HOURS", "1", 1),
        ("CELERY_EVENT_TASK", "shop.event", "shop.event"),
        ("CELERY_EVENT_QUEUE", "shop", "shop"),
        ("RETENTION_DAYS", "7", 7),
    ],
)
def test_a_good_value_is_taken(env: pytest.MonkeyPatch, variable: str, text: str, value: object):
    env.setenv(variable, text)

    assert shown(getattr(parse(Settings), variable.lower())) == value


@pytest.mark.parametrize(
    ("variable", "texts"),
    [
        (
            "DATABASE_URL",
            [
                "",
                "canary",
                "mysql://u:canary@h/d",
                "sqlite:///canary",
                "postgres://h/canary?pgbouncer=1",
            ],
        ),
        (
            "REDIS_URL",
            [
                "",
                "canary",
                "http://u:canary@h",
                "redis://:[canary]@h/0",
                "redis://:canary\u2100@h/0",
                "redis://h:canary/0",
                "redis://:canary@h/0?decode_responses=true",
                "redis://:canary@h/0?decode_responses=false",
            ],
        ),
        (
            "KLARNA_BASE_URL",
            [
                "",
                "canary",
                "api.klarna.com",
                "ftp://api.klarna.com",
                "https://u:canary@api.klarna.com",
                "https://api.klarna.com/canary",
                "https://api.klarna.com?canary",
                "https://api.klarna.com#canary",
                "https://api.klarna.com:canary",
                "https://api.klarna.com:70000",
                "https://[canary]",
                "https://evil.test",
            ],
        ),
        (
            "KLARNA_ALLOWED_ORIGINS",
            ["", " , ", "canary", "https://api.klarna.com,https://a/", "https://u:canary[@h"],
        ),
        ("KLARNA_PROXY_URL", ["canary", "socks5://u:canary@h", "proxy.test:3128"]),
        ("TOKEN_ENCRYPTION_KEYS", ["", ",", "canary", f"{KEY},canary", "canäry", KEY[:-2]]),
        ("POLL_LEASE_SECONDS", ["", "canary", "0", "-30", "14.9", "nan", "inf", "1e99"]),
        ("POLL_TASKS_PER_TICK", ["", "canary", "0", "1001", "1.5"]),
        ("POLL_IN_FLIGHT_PER_ACCOUNT", ["", "canary", "0", "100001"]),
        ("POLL_EXPIRY_GRACE_SECONDS", ["", "canary", "-1"]),
        ("POLL_MAX_INTERVAL_SECONDS", ["", "canary", "0"]),
        ("POLL_REQUESTS_PER_SESSION", ["", "canary", "0", "-1", "inf", "nan"]),
        ("POLL_MAX_LIFETIME_SECONDS", ["", "canary", "0"]),
        ("HTTP_TIMEOUT_SECONDS", ["", "canary", "0", "-1", "61", "nan", "inf"]),
        ("EVENT_SINKS", ["", "canary", "redis_stream,canary", "[]"]),
        ("EVENT_STREAM", [""]),
        ("EVENT_STREAM_RETENTION_HOURS", ["", "canary", "0", "1.5"]),
        ("CELERY_EVENT_TASK", [""]),
        ("CELERY_EVENT_QUEUE", ["", "payment-sessions", "payment-sessions-polls"]),
        ("RETENTION_DAYS", ["", "canary", "0"]),
        ("KLARNA_ACCOUNTS", ["", "canary", "[]", "5"]),
        ("KLARNA_ACCOUNTS__DE", ["canary"]),
    ],
)
def test_a_bad_value_is_a_fault_that_names_the_variable_and_not_the_value(
    env: pytest.MonkeyPatch, variable: str, texts: list[str]
):
    for text in texts:
        env.setenv(variable, text)

        (fault,) = faults()

        assert fault.startswith(f"{variable}: "), text
        assert "canary" not in fault
        assert "\n" not in fault


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL", "TOKEN_ENCRYPTION_KEYS"])
def test_a_required_variable_is_said_to_be_missing(env: pytest.MonkeyPatch, variable: str):
    env.delenv(variable)

    (fault,) = faults()

    assert fault.startswith(f"{variable}: is missing")


@pytest.mark.parametrize("text", [None, "", " , "])
def test_without_a_key_the_fault_says_how_to_make_one(env: pytest.MonkeyPatch, text: str | None):
    """As in a copy of .env.example that was not filled in."""
    env.delenv("TOKEN_ENCRYPTION_KEYS")
    if text is not None:
        env.setenv("TOKEN_ENCRYPTION_KEYS", text)

    (fault,) = faults()

    what = "is missing" if text is None else "is empty"
    assert fault == f"TOKEN_ENCRYPTION_KEYS: {what}: `session-worker generate-key` prints one"


def test_every_fault_has_its_line(env: pytest.MonkeyPatch):
    env.delenv("DATABASE_URL")
    env.setenv("RETENTION_DAYS", "soon")
    env.setenv("POLL_TASKS_PER_TICK", "0")

    named = sorted(fault.partition(":")[0] for fault in faults())

    assert named == ["DATABASE_URL", "POLL_TASKS_PER_TICK", "RETENTION_DAYS"]


@pytest.mark.parametrize(("timeout", "lease"), [("10", "15"), ("25", "30"), ("60", "65")])
def test_a_lease_outlasts_the_request_by_five_seconds(
    env: pytest.MonkeyPatch, timeout: str, lease: str
):
    env.setenv("HTTP_TIMEOUT_SECONDS", timeout)
    env.setenv("POLL_LEASE_SECONDS", lease)
    assert parse(Settings).poll_lease_seconds == timedelta(seconds=float(lease))

    env.setenv("POLL_LEASE_SECONDS", str(float(lease) - 0.1))
    assert faults() == [f"POLL_LEASE_SECONDS: must be at least HTTP_TIMEOUT_SECONDS + 5 = {lease}"]


@pytest.mark.usefixtures("env")
def test_no_secret_is_in_the_settings_repr():
    assert "canary" not in f"{parse(Settings)!r} {parse(Settings)}"


def test_settings_are_frozen(env: pytest.MonkeyPatch):
    settings = parse(Settings)

    with pytest.raises(ValueError, match="frozen"):
        settings.retention_days = 1
    env.setenv("RETENTION_DAYS", "1")
    assert settings.retention_days == 30


@pytest.mark.parametrize(
    ("broker_url", "used"),
    [("redis://other.test/1", "redis://other.test/1"), ("", REQUIRED["REDIS_URL"])],
)
def test_the_broker_is_redis_unless_it_has_a_url_of_its_own(
    monkeypatch: pytest.MonkeyPatch, broker_url: str, used: str
):
    """Celery's own commands, Flower among them, need neither Klarna's secrets nor the database."""
    monkeypatch.setenv("REDIS_URL", REQUIRED["REDIS_URL"])
    monkeypatch.setenv("BROKER_URL", broker_url)

    assert parse(BrokerSettings).effective_broker_url == used


# --- load: the edge of the process


def test_load_answers_the_settings(monkeypatch: pytest.MonkeyPatch):
    """Migrations need the database alone."""
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@h/d")

    assert shown(load(DatabaseSettings).database_url) == "postgresql+psycopg://u:p@h/d"


def test_load_ends_the_process_with_a_line_for_each_fault(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    env.setenv("DATABASE_URL", "mysql://u:canary@h/d")
    env.delenv("REDIS_URL")

    with pytest.raises(SystemExit) as ended:
        load(Settings)

    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert ended.value.__suppress_context__
    assert out == ""
    heading, *lines = err.splitlines()
    assert heading == "Invalid settings:"
    assert sorted(lines) == [
        "  DATABASE_URL: must start with postgresql:// or postgres://",
        "  REDIS_URL: is missing",
    ]


@pytest.mark.parametrize(
    "key",
    [KEY, KEY[:-1], KEY + "=", KEY[:-4], KEY + "AAAA", KEY.replace("M", "_"), "-", "\xe4" * 44],
)
def test_a_key_is_taken_if_the_cipher_takes_it(env: pytest.MonkeyPatch, key: str):
    """Settings do not import the cipher: beat reads them, too, and needs none."""
    env.setenv("TOKEN_ENCRYPTION_KEYS", key)
    try:
        Fernet(key)
    except ValueError:
        assert faults()
    else:
        assert parse(Settings).token_encryption_keys
