"""Webhook endpoints in the environment: one by default, any number by name."""

from __future__ import annotations

import base64
import os

import pytest
from cryptography.fernet import Fernet

from config.settings import InvalidSettingsError, Settings, parse
from worker.domain.events import EventType

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
URL = "https://shop.example/canary?key=canary"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A deployment that sends webhooks, without an endpoint."""
    for name in os.environ:
        if name.upper().startswith(("KLARNA_", "WEBHOOK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@h/d")
    monkeypatch.setenv("REDIS_URL", "redis://h")
    monkeypatch.setenv("TOKEN_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    monkeypatch.setenv("KLARNA_USERNAME", "user")
    monkeypatch.setenv("KLARNA_PASSWORD", "password")
    monkeypatch.setenv("EVENT_SINKS", "redis_stream,webhook")
    return monkeypatch


def set_endpoint(env: pytest.MonkeyPatch, name: str | None = None, **values: str) -> None:
    prefix = f"WEBHOOK_ENDPOINTS__{name}__" if name else "WEBHOOK_"
    for key, value in ({"url": URL, "secrets": SECRET} | values).items():
        env.setenv(f"{prefix}{key.upper()}", value)


def the_fault() -> str:
    with pytest.raises(InvalidSettingsError) as refused:
        parse(Settings)
    (fault,) = refused.value.faults
    assert "canary" not in fault
    assert SECRET not in fault
    return fault


def test_the_plain_variables_are_the_sink_webhook(env: pytest.MonkeyPatch):
    set_endpoint(env, secrets=f"{SECRET}, {OTHER}")

    settings = parse(Settings)

    assert settings.delivery_sinks == ("redis_stream", "webhook")
    endpoint = settings.webhooks["webhook"]
    assert endpoint.url.get_secret_value() == URL
    assert [secret.get_secret_value() for secret in endpoint.secrets] == [SECRET, OTHER]
    assert endpoint.events is None
    assert "canary" not in repr(settings)


def test_further_endpoints_are_sinks_by_their_lower_cased_names(env: pytest.MonkeyPatch):
    set_endpoint(env)
    set_endpoint(env, "ERP", events="payment_session.authorized,payment_session.expired")

    settings = parse(Settings)

    assert settings.delivery_sinks == ("redis_stream", "webhook", "webhook:erp")
    assert settings.webhooks["webhook:erp"].events == (EventType.AUTHORIZED, EventType.EXPIRED)


def test_json_and_variables_of_one_endpoint_are_merged_by_its_lower_cased_name(
    env: pytest.MonkeyPatch,
):
    env.setenv("EVENT_SINKS", "webhook")
    env.setenv("WEBHOOK_ENDPOINTS", f'{{"ERP": {{"url": "{URL}"}}}}')
    env.setenv("WEBHOOK_ENDPOINTS__ERP__SECRETS", SECRET)

    endpoint = parse(Settings).webhooks["webhook:erp"]

    assert endpoint.url.get_secret_value() == URL
    assert [secret.get_secret_value() for secret in endpoint.secrets] == [SECRET]


def test_a_named_endpoint_alone_is_enough_and_may_be_the_default(env: pytest.MonkeyPatch):
    set_endpoint(env, "DEFAULT")

    assert parse(Settings).delivery_sinks == ("redis_stream", "webhook")


def test_without_the_sink_no_endpoint_is_sent_to(env: pytest.MonkeyPatch):
    set_endpoint(env)
    env.setenv("EVENT_SINKS", "celery")

    assert parse(Settings).delivery_sinks == ("celery",)


@pytest.mark.usefixtures("env")
def test_the_sink_needs_an_endpoint():
    assert the_fault() == "WEBHOOK_URL: is missing although EVENT_SINKS names webhook"


@pytest.mark.parametrize(
    ("missing", "fault"),
    [
        ("WEBHOOK_SECRETS", "WEBHOOK_SECRETS: is missing although WEBHOOK_URL is set"),
        ("WEBHOOK_URL", "WEBHOOK_URL: is missing although WEBHOOK_SECRETS is set"),
    ],
)
def test_half_an_endpoint_is_a_fault(env: pytest.MonkeyPatch, missing: str, fault: str):
    set_endpoint(env)
    env.delenv(missing)
    env.setenv("EVENT_SINKS", "redis_stream")

    assert the_fault() == fault


@pytest.mark.parametrize("missing", ["URL", "SECRETS"])
def test_half_a_named_endpoint_is_a_fault(env: pytest.MonkeyPatch, missing: str):
    set_endpoint(env, "ERP")
    env.delenv(f"WEBHOOK_ENDPOINTS__ERP__{missing}")

    assert the_fault() == f"WEBHOOK_ENDPOINTS__ERP__{missing}: is missing"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://shop.example/canary", "must be https, unless WEBHOOK_ALLOW_PRIVATE=true"),
        ("HTTP://shop.example/canary", "must be https, unless WEBHOOK_ALLOW_PRIVATE=true"),
        ("shop.example/canary", "must start with https://"),
        ("ftp://shop.example/canary", "must start with https://"),
        ("https://user:canary@shop.example/", "must not contain user info"),
        ("https://@shop.example/", "must not contain user info"),
        ("https://shop.example/#canary", "must not contain a fragment"),
        ("https:///canary", "is not a valid URL"),
        ("https://shop.example:99999/canary", "is not a valid URL"),
        ("https://shop.example:canary/", "is not a valid URL"),
        ("https://shop.example/ canary", "is not a valid URL"),
        ("https://shop.example/can\nary", "is not a valid URL"),
        ("https://shop.example/canary\n", "ends with a line break"),
        ("https://shop.example\\canary", "is not a valid URL"),
        ("https://[canary/", "is not a valid URL"),
    ],
)
@pytest.mark.parametrize("name", [None, "ERP"])
def test_a_url_that_cannot_be_sent_to_safely_is_a_fault(
    env: pytest.MonkeyPatch, name: str | None, url: str, fault: str
):
    set_endpoint(env, name, url=url)

    variable = f"WEBHOOK_ENDPOINTS__{name}__URL" if name else "WEBHOOK_URL"
    assert the_fault().startswith(f"{variable}: {fault}")


def test_http_is_for_private_addresses(env: pytest.MonkeyPatch):
    set_endpoint(env, url="http://127.0.0.1:8000/hook")
    env.setenv("WEBHOOK_ALLOW_PRIVATE", "true")

    assert parse(Settings).webhook_allow_private


@pytest.mark.parametrize(
    "secrets",
    ["canary", "whsec_", "whsec_canary", f"whsec_{'A' * 28}", f"{SECRET},canary", SECRET[6:]],
)
def test_a_secret_that_is_none_is_a_fault_that_says_how_to_make_one(
    env: pytest.MonkeyPatch, secrets: str
):
    set_endpoint(env, secrets=secrets)

    fault = the_fault()
    assert fault.startswith("WEBHOOK_SECRETS: each secret must be whsec_ and 24 to 64 bytes")
    assert "openssl rand -base64 32" in fault


def test_an_unknown_event_type_is_a_fault_that_names_those_there_are(env: pytest.MonkeyPatch):
    set_endpoint(env, "ERP", events="payment_session.canary")

    fault = the_fault()
    assert fault.startswith("WEBHOOK_ENDPOINTS__ERP__EVENTS: must be one of payment_session.")


@pytest.mark.parametrize("name", ["A B", "Ä", "A" * 65])
def test_a_name_that_is_none_is_a_fault(env: pytest.MonkeyPatch, name: str):
    set_endpoint(env, name)

    assert the_fault().startswith("WEBHOOK_ENDPOINTS__<NAME>: a name must be")


def test_the_endpoints_are_not_set_by_themselves(env: pytest.MonkeyPatch):
    env.setenv("WEBHOOK_ENDPOINTS", "canary")

    assert the_fault() == (
        "WEBHOOK_ENDPOINTS: cannot be set by itself: use WEBHOOK_ENDPOINTS__<NAME>__URL"
    )
