"""Klarna accounts in the environment: one by default, any number by name."""

from __future__ import annotations

import os

import pytest
from cryptography.fernet import Fernet

from config.klarna import KLARNA_LIVE
from config.settings import InvalidSettingsError, KlarnaAccount, Settings, parse


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything but an account."""
    for name in os.environ:
        if name.upper().startswith("KLARNA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@h/d")
    monkeypatch.setenv("REDIS_URL", "redis://h")
    monkeypatch.setenv("TOKEN_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    return monkeypatch


def set_account(env: pytest.MonkeyPatch, name: str | None = None, **values: str) -> None:
    prefix = f"KLARNA_ACCOUNTS__{name}__" if name else "KLARNA_"
    for key, value in ({"username": "user", "password": "canary"} | values).items():
        env.setenv(f"{prefix}{key.upper()}", value)


def accounts() -> dict[str, tuple[str, str, str]]:
    return {
        name: (account.username, account.password.get_secret_value(), account.base_url)
        for name, account in parse(Settings).accounts.items()
    }


def the_fault() -> str:
    with pytest.raises(InvalidSettingsError) as refused:
        parse(Settings)
    (fault,) = refused.value.faults
    assert "canary" not in fault
    return fault


def test_the_plain_variables_are_the_account_default(env: pytest.MonkeyPatch):
    set_account(env)

    assert accounts() == {"default": ("user", "canary", "https://api.klarna.com")}


def test_further_accounts_are_known_by_their_lower_cased_names(env: pytest.MonkeyPatch):
    set_account(env)
    set_account(env, "US_East", base_url="https://api-na.klarna.com/")
    set_account(env, "de", username="12345", password="1e5")

    assert accounts() == {
        "default": ("user", "canary", "https://api.klarna.com"),
        "us_east": ("user", "canary", "https://api-na.klarna.com"),
        "de": ("12345", "1e5", "https://api.klarna.com"),
    }


def test_json_and_variables_of_one_account_are_merged_by_its_lower_cased_name(
    env: pytest.MonkeyPatch,
):
    """A variable wins over JSON, which may hold everything but the password."""
    env.setenv("KLARNA_ACCOUNTS", '{"NORDIC": {"username": "json", "password": "of json"}}')
    env.setenv("KLARNA_ACCOUNTS__NORDIC__PASSWORD", "canary")

    assert accounts() == {"nordic": ("json", "canary", "https://api.klarna.com")}


def test_named_accounts_alone_are_enough(env: pytest.MonkeyPatch):
    set_account(env, "DE")

    assert set(accounts()) == {"de"}


def test_the_plain_variables_win_over_an_account_named_default(env: pytest.MonkeyPatch):
    set_account(env, "DEFAULT", username="named")
    assert accounts()["default"][0] == "named"

    set_account(env)
    assert accounts()["default"][0] == "user"


def test_some_account_is_needed(env: pytest.MonkeyPatch):
    assert the_fault() == "KLARNA_USERNAME: is missing, and KLARNA_PASSWORD with it"

    env.setenv("KLARNA_USERNAME", "")
    env.setenv("KLARNA_PASSWORD", "")
    assert the_fault() == "KLARNA_USERNAME: is missing, and KLARNA_PASSWORD with it"


@pytest.mark.parametrize(
    ("present", "missing"),
    [("KLARNA_USERNAME", "KLARNA_PASSWORD"), ("KLARNA_PASSWORD", "KLARNA_USERNAME")],
)
def test_half_an_account_is_a_fault_even_beside_a_whole_one(
    env: pytest.MonkeyPatch, present: str, missing: str
):
    set_account(env, "DE")
    env.setenv(present, "canary")

    assert the_fault() == f"{missing}: is missing although {present} is set"


@pytest.mark.parametrize("missing", ["USERNAME", "PASSWORD"])
def test_half_a_named_account_names_the_variable(env: pytest.MonkeyPatch, missing: str):
    set_account(env, "DE")
    env.delenv(f"KLARNA_ACCOUNTS__DE__{missing}")

    assert the_fault() == f"KLARNA_ACCOUNTS__DE__{missing}: is missing"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("username", ""),
        ("password", ""),
        ("pasword", "canary"),
        ("base_url", "canary"),
        ("base_url", "https://u:canary@api.klarna.com"),
        ("base_url", "https://evil.test"),
    ],
)
def test_a_bad_value_of_a_named_account_names_the_variable(
    env: pytest.MonkeyPatch, key: str, value: str
):
    set_account(env, "DE", **{key: value})

    assert the_fault().startswith(f"KLARNA_ACCOUNTS__DE__{key.upper()}: ")


def test_a_base_url_must_be_an_origin_that_credentials_may_be_sent_to(env: pytest.MonkeyPatch):
    """The list replaces the default; http is allowed where it is listed so, and only so."""
    env.setenv("KLARNA_ALLOWED_ORIGINS", "http://127.0.0.1:8080, http://[::1]:8080")

    set_account(env)
    assert the_fault() == "KLARNA_BASE_URL: is not listed in KLARNA_ALLOWED_ORIGINS"

    set_account(env, base_url="https://127.0.0.1:8080")
    assert the_fault() == "KLARNA_BASE_URL: is not listed in KLARNA_ALLOWED_ORIGINS"

    set_account(env, base_url="http://[::1]:8080")
    assert accounts()["default"][2] == "http://[::1]:8080"


PLAYGROUND = "https://api.playground.klarna.com"


def test_credentials_may_go_to_their_accounts_base_url_alone(env: pytest.MonkeyPatch):
    """Without one to Klarna's hosts as far as they are allowed; to other origins never."""
    own = "https://klarna.shop.test"
    env.setenv("KLARNA_ALLOWED_ORIGINS", f"{KLARNA_LIVE},{PLAYGROUND},{own}")
    set_account(env)
    set_account(env, "PLAY", base_url=PLAYGROUND)
    set_account(env, "Own", base_url=own)
    set_account(env, "UNSET")

    settings = parse(Settings)

    assert {name: list(origins) for name, origins in settings.account_origins.items()} == {
        "default": [KLARNA_LIVE, PLAYGROUND],
        "play": [PLAYGROUND],
        "own": [own],
        "unset": [KLARNA_LIVE, PLAYGROUND],
    }
    assert settings.accounts_without_base_url == {"default", "unset"}


def test_a_base_url_that_is_set_to_the_default_is_set(env: pytest.MonkeyPatch):
    set_account(env, base_url=KLARNA_LIVE)

    settings = parse(Settings)

    assert settings.account_origins == {"default": [KLARNA_LIVE]}
    assert settings.accounts_without_base_url == set()


def test_an_accounts_password_is_in_no_repr():
    account = KlarnaAccount(username="user", password="canary")

    assert "canary" not in f"{account!r} {account}"
