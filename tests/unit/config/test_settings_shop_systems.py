"""The settings of the sinks that place orders: what each needs, and where credentials may go."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from config.settings import InvalidSettingsError, Settings, parse

REQUIRED = {
    "DATABASE_URL": "postgresql://db.test/shop",
    "REDIS_URL": "redis://redis.test/0",
    "KLARNA_USERNAME": "user",
    "KLARNA_PASSWORD": "password",
    "TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
}
COMMERCE_LAYER = {
    "COMMERCE_LAYER_BASE_URL": "https://shop.commercelayer.test",
    "COMMERCE_LAYER_CLIENT_ID": "id",
    "COMMERCE_LAYER_CLIENT_SECRET": "canary-secret",
}
PAYWAY = {
    "PAYWAY_BASE_URL": "https://payway.test",
    "PAYWAY_CLIENT_ID": "id",
    "PAYWAY_CLIENT_SECRET": "canary-secret",
}
EVERY = [("commerce_layer", COMMERCE_LAYER), ("payway", PAYWAY)]
EACH = [(sink, variables, name) for sink, variables in EVERY for name in variables]


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def faults() -> list[str]:
    with pytest.raises(InvalidSettingsError) as refused:
        parse(Settings)
    return refused.value.faults


@pytest.mark.parametrize(("sink", "variables"), EVERY)
def test_a_whole_set_is_taken(env: pytest.MonkeyPatch, sink: str, variables: dict[str, str]):
    for name, value in variables.items():
        env.setenv(name, value)
    env.setenv("EVENT_SINKS", f"redis_stream,{sink}")

    assert parse(Settings).event_sinks == ("redis_stream", sink)
    assert "canary" not in repr(parse(Settings))


@pytest.mark.parametrize(("sink", "variables", "missing"), EACH)
@pytest.mark.parametrize("blank", [True, False])
def test_what_a_sink_lacks_is_named(
    env: pytest.MonkeyPatch, sink: str, variables: dict[str, str], missing: str, *, blank: bool
):
    for name, value in variables.items():
        env.setenv(name, value)
    env.setenv(missing, "") if blank else env.delenv(missing)
    env.setenv("EVENT_SINKS", sink)

    assert faults() == [f"{missing}: is missing although EVENT_SINKS names {sink}"]


def test_nothing_is_needed_of_a_sink_that_is_not_named(env: pytest.MonkeyPatch):
    env.setenv("COMMERCE_LAYER_BASE_URL", "https://shop.commercelayer.test")

    parse(Settings)


@pytest.mark.parametrize("variable", ["COMMERCE_LAYER_BASE_URL", "PAYWAY_BASE_URL"])
@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://shop.test", "must be https, unless it is this machine"),
        ("http://127.0.0.1.shop.test", "must be https, unless it is this machine"),
        ("https://user:canary-pw@shop.test", "must look like https://host"),
        ("https://shop.test/api", "must look like https://host"),
        ("ftp://shop.test", "must look like https://host"),
        ("shop.test", "must look like https://host"),
    ],
)
def test_credentials_go_nowhere_unsafe(
    env: pytest.MonkeyPatch, variable: str, url: str, fault: str
):
    env.setenv(variable, url)

    (line,) = faults()
    assert line.startswith(f"{variable}: {fault}")
    assert "canary" not in line


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://auth.test/oauth/token", "must be https, unless it is this machine"),
        ("https://user:canary-pw@auth.test/oauth/token", "must look like https://host/path"),
        ("https://auth.test/oauth/token?secret=canary", "must look like https://host/path"),
        ("auth.test/oauth/token", "must look like https://host/path"),
        ("https://[canary/oauth", "must look like https://host/path"),
        ("", "must look like https://host/path"),
    ],
)
def test_where_tokens_are_granted_is_checked_too(env: pytest.MonkeyPatch, url: str, fault: str):
    env.setenv("COMMERCE_LAYER_AUTH_URL", url)

    (line,) = faults()
    assert line.startswith(f"COMMERCE_LAYER_AUTH_URL: {fault}")
    assert "canary" not in line


@pytest.mark.parametrize("host", ["127.0.0.1:8399", "localhost:8399", "[::1]:8399"])
def test_this_machine_is_spoken_to_in_the_clear(env: pytest.MonkeyPatch, host: str):
    env.setenv("PAYWAY_BASE_URL", f"http://{host}/")
    env.setenv("COMMERCE_LAYER_AUTH_URL", f"http://{host}/oauth/token")

    assert parse(Settings).payway_base_url == f"http://{host}"
