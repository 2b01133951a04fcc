"""`.env.example` and docs/settings.md name every setting, with the defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from honcho.environ import parse as parse_as_honcho

from config.settings import ConsoleSettings, KlarnaAccount, Settings, parse
from config.webhooks import WebhookEndpointSettings

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / ".env.example").read_text()
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "settings.md").read_text()
# Set by the names of their parts only.
BY_NAME = {"KLARNA_ACCOUNTS", "WEBHOOK_ENDPOINTS"}
# Read by Flower itself.
FLOWER = {
    *("FLOWER_BASIC_AUTH", "FLOWER_AUTH", "FLOWER_AUTH_PROVIDER"),
    *("FLOWER_OAUTH2_KEY", "FLOWER_OAUTH2_SECRET", "FLOWER_OAUTH2_REDIRECT_URI"),
    *("FLOWER_PERSISTENT", "FLOWER_DB", "FLOWER_STATE_SAVE_INTERVAL"),
}
LOGINS = {"FLOWER_BASIC_AUTH", "CONSOLE_BASIC_AUTH"}
FIELDS = Settings.model_fields | ConsoleSettings.model_fields
FILLED = {
    "DATABASE_URL": "postgresql://localhost/klarna",
    "REDIS_URL": "redis://localhost",
    "KLARNA_USERNAME": "user",
    "KLARNA_PASSWORD": "password",
    "TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
}


def written(*, optional: bool) -> dict[str, str]:
    """The lines `NAME=value`, or those behind a `#`, as they stand."""
    mark = "#" if optional else ""
    return dict(re.findall(rf"^{mark}([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE))


def settings_of(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Settings, ConsoleSettings]:
    """What the code makes of this environment and nothing else."""
    with monkeypatch.context() as patch:
        for name in FIELDS:
            patch.delenv(name.upper(), raising=False)
        for name, value in (environment | {"CONSOLE_BASIC_AUTH": "user:password"}).items():
            patch.setenv(name, value)
        return parse(Settings), parse(ConsoleSettings)


def test_it_names_exactly_the_variables_that_are_read():
    read = {name.upper() for name in FIELDS} - BY_NAME
    accounts = {f"KLARNA_ACCOUNTS__NORDIC__{name.upper()}" for name in KlarnaAccount.model_fields}
    webhooks = {
        f"WEBHOOK_ENDPOINTS__ERP__{name.upper()}" for name in WebhookEndpointSettings.model_fields
    }
    compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))

    assert set(written(optional=False) | written(optional=True)) == (
        read | accounts | webhooks | FLOWER | compose
    )


def test_required_come_first_and_are_what_nothing_starts_without():
    required = list(written(optional=False))

    assert set(required) == FILLED.keys() | LOGINS | {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
    assert EXAMPLE.index(f"\n{required[-1]}=") < EXAMPLE.index("\n#KLARNA_BASE_URL=")


def test_the_defaults_written_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch):
    shown = {name: value for name, value in written(optional=True).items() if "__" not in name}

    assert settings_of(FILLED | shown, monkeypatch) == settings_of(FILLED, monkeypatch)
    silent = {name.lower() for name, value in shown.items() if not value}
    silent -= {name.lower() for name in FLOWER}
    assert {n for n in silent if FIELDS[n].default is not None} == set()


def test_copied_and_filled_it_is_right_for_honcho_too(monkeypatch: pytest.MonkeyPatch):
    """Honcho reads .env in its own way: it must see the same values."""
    text = EXAMPLE
    for name, value in FILLED.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)

    read = parse_as_honcho(text)

    assert {name: read[name] for name in FILLED} == FILLED
    settings_of({name: read[name] for name in FILLED}, monkeypatch)


def rows_of(page: str) -> dict[str, str]:
    """One row a variable: | `NAME` | meaning | `default` |."""
    return dict(re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \| .* \| (.*) \|$", page, re.MULTILINE))


def test_the_readme_has_what_no_worker_starts_without():
    """In the same words as the page of all settings."""
    lines = [line for line in README.splitlines() if re.match(r"\| `[A-Z]", line)]

    assert rows_of(README) == dict.fromkeys(FILLED, "required")
    assert set(lines) <= set(PAGE.splitlines())


def test_the_page_says_the_same():
    rows = rows_of(PAGE)
    optional = {n: v for n, v in written(optional=True).items() if "__" not in n}

    assert set(rows) == set(written(optional=False)) | set(optional)
    for name, value in optional.items():
        shown = rows[name].replace("`", "").replace(", ", ",")
        assert shown in {value or "none", "Klarna's six hosts"}, name
