"""Any text in the environment: valid settings, or errors that show no secret."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.fernet import Fernet
from hypothesis import strategies as st
from redis.asyncio import Redis

from config.settings import InvalidSettingsError, Settings, parse
from tests.hostile import strategies
from tests.hostile.cases import parts, run_cases
from worker.adapters.postgres.engine import create_engine
from worker.bootstrap.shared import claim_limits
from worker.bootstrap.worker import _poll_limits

CANARY = "canary-7c1d"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = Fernet.generate_key().decode()
SOUND = {
    "DATABASE_URL": f"postgresql://user:{CANARY}@localhost/shop",
    "REDIS_URL": f"redis://:{CANARY}@localhost:6379/1",
    "KLARNA_USERNAME": "K123",
    "KLARNA_PASSWORD": CANARY,
    "TOKEN_ENCRYPTION_KEYS": KEY,
}
SECRET = (
    *("DATABASE_URL", "REDIS_URL", "BROKER_URL", "KLARNA_PASSWORD", "KLARNA_PROXY_URL"),
    *("TOKEN_ENCRYPTION_KEYS", "KLARNA_ACCOUNTS__EU__PASSWORD"),
)
OTHERS = (
    *("KLARNA_USERNAME", "KLARNA_BASE_URL", "KLARNA_ALLOWED_ORIGINS", "HTTP_TIMEOUT_SECONDS"),
    *("KLARNA_ACCOUNTS__EU__USERNAME", "KLARNA_ACCOUNTS__EU__BASE_URL", "KLARNA_ACCOUNTS__EU"),
    *("KLARNA_ACCOUNTS__", "KLARNA_ACCOUNTS__EU__PASSWORD__X", "EVENT_SINKS", "EVENT_STREAM"),
    *("POLL_LEASE_SECONDS", "POLL_TASKS_PER_TICK", "POLL_IN_FLIGHT_PER_ACCOUNT"),
    *("POLL_EXPIRY_GRACE_SECONDS", "POLL_MAX_INTERVAL_SECONDS", "POLL_MAX_LIFETIME_SECONDS"),
    *("EVENT_STREAM_RETENTION_HOURS", "RETENTION_DAYS", "CELERY_EVENT_TASK", "KLARNA_ACCOUNTS"),
)
_FAULT = re.compile(r"[A-Z_]+: \S.*")

# What the environment can hold: no null, and bytes that are no UTF-8 as such surrogates.
texts = st.one_of(strategies.texts, strategies.long_texts, strategies.numbers).map(
    lambda text: text.replace("\x00", "").replace("\ud800", "\udcff")
)
_urls = st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            [
                *("postgresql://", "postgres://", "redis://", "rediss://", "http://", "amqp://"),
                *("https://", "user", ":", "@", "/", "[", "]", "?", "#", "host", "::1", "99999"),
                *("[::1]", "db=x", "&", ";", "%", "%zz", "\udcff", " ", "1"),
            ]
        ),
        max_size=9,
    ),
)
_json = st.sampled_from(["null", "[]", "{}", '{"eu": 1}', '{"eu": {"username": "u"}}', '"', "0"])
_accounts = st.sampled_from(
    [f'{{"eu": {{"password": "{CANARY}"}}}}', f'{{"eu": "{CANARY}"}}', f'["{CANARY}"]']
).map(lambda text: {"KLARNA_ACCOUNTS": text})
values = st.one_of(texts, _urls, _json, st.just(KEY), st.just(f"{KEY},{KEY}"))
# A secret is any of these with the canary in it somewhere.
secrets = st.builds(
    lambda text, at: text[: at % (len(text) + 1)] + CANARY + text[at % (len(text) + 1) :],
    values,
    st.integers(0, 400),
)
environments = st.builds(
    lambda others, secret: SOUND | others | secret,
    st.dictionaries(st.sampled_from(OTHERS + SECRET), values, max_size=2),
    st.dictionaries(st.sampled_from(SECRET), secrets, max_size=2) | _accounts,
)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def check_environment(variables: Mapping[str, str]) -> None:
    with environment(variables):
        try:
            settings = parse(Settings)
        except InvalidSettingsError as error:
            check_faults(error)
            return
    assert CANARY not in repr(settings)
    check_that_they_work(settings)


def check_faults(error: InvalidSettingsError) -> None:
    assert error.faults
    assert CANARY not in str(error).lower()
    assert KEY not in str(error)
    for line in error.faults:
        assert _FAULT.fullmatch(line)
        assert line.isprintable()
        assert len(line) <= 250


def check_that_they_work(settings: Settings) -> None:
    """Do what a process does with them at its start, without connecting."""
    create_engine(settings.database_url.get_secret_value())
    Redis.from_url(settings.redis_url.get_secret_value())
    for account in settings.accounts.values():
        httpx.BasicAuth(account.username, account.password.get_secret_value())
        assert account.base_url in settings.klarna_allowed_origins
    limits, claims = _poll_limits(settings), claim_limits(settings)
    far = NOW + timedelta(days=settings.retention_days)
    far += timedelta(hours=settings.event_stream_retention_hours) + limits.max_lifetime
    assert far + limits.expiry_grace + limits.max_interval + claims.lease > NOW


@pytest.mark.parametrize("part", parts("settings"))
def test_any_environment_makes_settings_or_faults_without_secrets(
    part: int, record_property: Callable[[str, object], None]
):
    run_cases("settings", part, environments, check_environment, record_property)
