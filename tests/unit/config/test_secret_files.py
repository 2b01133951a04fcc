"""Secrets from files: which settings may be read from one, and what is wrong with a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.secret_files import FLOWER_SECRETS, SECRETS, fill_in_flower_secrets
from config.settings import BrokerSettings, ConsoleSettings, InvalidSettingsError, Settings, parse

SECRET = "canary-5e1f"
KEY = "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="
HOOK = "whsec_bWFkZS11cC1mb3ItdGhlLXRlc3RzLW9ubHk="
PLAIN = {"KLARNA_USERNAME": "user", "COMMERCE_LAYER_CLIENT_ID": "id", "PAYWAY_CLIENT_ID": "id"}
FILES = {
    "DATABASE_URL": f"postgresql://u:{SECRET}@localhost/db",
    "REDIS_URL": f"redis://:{SECRET}@localhost/0",
    "BROKER_URL": f"redis://:{SECRET}@localhost/1",
    "KLARNA_PASSWORD": SECRET,
    "TOKEN_ENCRYPTION_KEYS": f"{KEY},{KEY}",
    "WEBHOOK_SECRETS": HOOK,
    "COMMERCE_LAYER_CLIENT_SECRET": SECRET,
    "PAYWAY_CLIENT_SECRET": SECRET,
    "CONSOLE_BASIC_AUTH": f"user:{SECRET}",
    "CONSOLE_DATABASE_URL": f"postgresql://r:{SECRET}@localhost/db",
    "KLARNA_ACCOUNTS__NORDIC__PASSWORD": SECRET,
    "WEBHOOK_ENDPOINTS__ERP__SECRETS": HOOK,
}
BESIDES = {
    "WEBHOOK_URL": "https://shop.example/hook",
    "KLARNA_ACCOUNTS__NORDIC__USERNAME": "nordic",
    "WEBHOOK_ENDPOINTS__ERP__URL": "https://erp.example/hook",
}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Every secret in a file, and nothing else of the machine's."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in (PLAIN | BESIDES).items():
        monkeypatch.setenv(name, value)
    for name, value in FILES.items():
        (tmp_path / name).write_text(value + "\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    return monkeypatch


def faults() -> list[str]:
    with pytest.raises(InvalidSettingsError) as refused:
        parse(Settings)
    assert SECRET not in str(refused.value)
    return refused.value.faults


@pytest.mark.usefixtures("env")
def test_each_secret_is_read_from_its_file():
    settings, console = parse(Settings), parse(ConsoleSettings)

    assert set(SECRETS) <= FILES.keys()
    assert settings.database_url.get_secret_value().endswith(f":{SECRET}@localhost/db")
    assert settings.redis_url.get_secret_value() == FILES["REDIS_URL"]
    assert settings.effective_broker_url == FILES["BROKER_URL"]
    assert settings.accounts["default"].password.get_secret_value() == SECRET
    assert settings.accounts["nordic"].password.get_secret_value() == SECRET
    assert len(settings.token_encryption_keys) == 1
    assert {s.secrets[0].get_secret_value() for s in settings.webhooks.values()} == {HOOK}
    assert settings.commerce_layer_client_secret is not None
    assert settings.payway_client_secret is not None
    assert console.logins == (FILES["CONSOLE_BASIC_AUTH"],)
    assert console.reading_url.endswith(f"r:{SECRET}@localhost/db")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_line_break_at_the_end_is_removed(env: pytest.MonkeyPatch, tmp_path: Path, ending: str):
    (tmp_path / "own").write_bytes(f" {SECRET} ".encode() + ending.encode())
    env.setenv("KLARNA_PASSWORD_FILE", str(tmp_path / "own"))

    assert parse(Settings).accounts["default"].password.get_secret_value() == f" {SECRET} "


@pytest.mark.parametrize("ending", ["\n\n", "\r", "\n\r", "\t\n"])
def test_what_is_left_then_must_not_end_with_a_control_character(
    env: pytest.MonkeyPatch, tmp_path: Path, ending: str
):
    (tmp_path / "own").write_bytes(SECRET.encode() + ending.encode())
    env.setenv("KLARNA_PASSWORD_FILE", str(tmp_path / "own"))

    (fault,) = faults()

    assert fault.startswith("KLARNA_PASSWORD_FILE: ends with a line break")


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"CONSOLE_BASIC_AUTH"}))
def test_both_set_is_a_fault(env: pytest.MonkeyPatch, name: str):
    env.setenv(name, FILES[name])
    kind = ConsoleSettings if name.startswith("CONSOLE_") else Settings

    with pytest.raises(InvalidSettingsError) as refused:
        parse(kind)

    assert refused.value.faults == [f"{name}_FILE: is set, and {name} too: take one of them away"]


def test_empty_variables_are_unset_ones(env: pytest.MonkeyPatch):
    """As in a copy of .env.example."""
    env.setenv("KLARNA_PASSWORD", "")
    env.setenv("BROKER_URL_FILE", "")

    settings = parse(Settings)

    assert settings.accounts["default"].password.get_secret_value() == SECRET
    assert settings.effective_broker_url == FILES["REDIS_URL"]


def test_a_file_that_cannot_be_read_is_one_line_that_names_the_variable(
    env: pytest.MonkeyPatch, tmp_path: Path
):
    for name, content in {"large": b"x" * 70_000, "binary": b"\xff", "null": b"a\0b"}.items():
        (tmp_path / name).write_bytes(content)
    for file, reason in {
        # Where the secret stands in the file's place, it is not shown.
        SECRET: "No such file or directory",
        str(tmp_path): "it is not a file",
        str(tmp_path / "large"): "it is longer than 65536 bytes",
        str(tmp_path / "binary"): "it is not text in UTF-8",
        str(tmp_path / "null"): "it has a null byte",
    }.items():
        for name in ("KLARNA_PASSWORD", "DATABASE_URL", "KLARNA_ACCOUNTS__NORDIC__PASSWORD"):
            with env.context() as patch:
                patch.setenv(f"{name}_FILE", file)

                assert faults()[0] == f"{name}_FILE: cannot be read: {reason}"


def test_a_file_counts_only_where_its_setting_is_read(env: pytest.MonkeyPatch):
    env.setenv("DATABASE_URL_FILE", "/nonexistent")

    assert parse(BrokerSettings).effective_broker_url == FILES["BROKER_URL"]


@pytest.mark.parametrize("name", ["PROGRESS_FILE", "POLL_POLICY_FILE"])
def test_settings_that_are_files_stay_what_they_are(env: pytest.MonkeyPatch, name: str):
    env.setenv(name, "/nonexistent")

    assert str(getattr(parse(Settings), name.lower())) == "/nonexistent"


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n", "\x7f"])
@pytest.mark.parametrize(
    "name", ["EVENT_STREAM", "CELERY_EVENT_QUEUE", "KLARNA_USERNAME", "PAYWAY_SCOPE"]
)
def test_a_control_character_at_a_settings_end_is_refused_by_name(
    env: pytest.MonkeyPatch, name: str, ending: str
):
    """From a file that another tool put into the environment whole."""
    env.setenv(name, "canary" + ending)

    assert faults() == [f"{name}: ends with a line break or other control character: remove it"]


def test_flowers_secrets_move_to_where_flower_reads_them(tmp_path: Path):
    environ = {}
    for name in FLOWER_SECRETS:
        (tmp_path / name).write_text(f"user:{SECRET}\n")
        environ[f"{name}_FILE"] = str(tmp_path / name)

    assert fill_in_flower_secrets(environ) == []
    assert environ == dict.fromkeys(FLOWER_SECRETS, f"user:{SECRET}")
    assert fill_in_flower_secrets(environ | {"FLOWER_BASIC_AUTH_FILE": "/nonexistent"}) == [
        "FLOWER_BASIC_AUTH_FILE: is set, and FLOWER_BASIC_AUTH too: take one of them away"
    ]
