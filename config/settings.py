"""The environment as frozen, typed settings; the only place that reads it.

`load` answers settings or ends the process with one line per fault, never with a secret's value.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsError,
)

from config.faults import fault_of
from config.secret_files import Environment, read_environment
from config.shop_systems import ShopSystemSettings
from config.telemetry import TelemetrySettings
from config.urls import BrokerUrl, HttpUrl, Origin, PostgresUrl, ProxyUrl, RedisUrl, utf_8
from config.values import ENVIRONMENT, comma_list, nothing_if_blank
from config.webhooks import SINK as WEBHOOK
from config.webhooks import WebhookSettings
from worker.domain.tracking import DEFAULT_ACCOUNT

# Made by `python -m benchmarks.shipped_policy`; docs/polling.md explains it.
SHIPPED_POLICY = Path(__file__).with_name("poll_policy.jsonl")
KLARNA_LIVE = "https://api.klarna.com"
# Klarna's six API hosts: docs.klarna.com, API URLs.
KLARNA_ORIGINS = (
    KLARNA_LIVE,
    "https://api-na.klarna.com",
    "https://api-oc.klarna.com",
    "https://api.playground.klarna.com",
    "https://api-na.playground.klarna.com",
    "https://api-oc.playground.klarna.com",
)
# A lease must outlast the request it guards, with time to load and to record.
LEASE_MARGIN_SECONDS = 5
FERNET_KEY_BYTES = 32
# A hundred years: what dates can be reckoned with.
LONGEST_RETENTION_DAYS = 36_500

# What the workers consume: an event sent there would be an unknown task of ours, and lost.
OWN_QUEUES = ("payment-sessions", "payment-sessions-polls", "payment-sessions-events")

SinkName = Literal["redis_stream", "webhook", "celery", "commerce_layer", "payway"]


def _secret_text(value: SecretStr) -> SecretStr:
    utf_8(value.get_secret_value())
    return value


def _seconds(value: object) -> object:
    """A plain number means seconds; pydantic alone would want ISO 8601."""
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=float(str(value)))
    except (ValueError, OverflowError):
        raise ValueError("must be a number of seconds") from None


def _queue_of_the_shop(value: str) -> str:
    if value in OWN_QUEUES:
        raise ValueError("is a queue of the worker's own: name one that the shop consumes")
    return value


def _fernet_key(value: SecretStr) -> SecretStr:
    # As Fernet itself reads it: beat has no other use for the library.
    try:
        key = base64.urlsafe_b64decode(value.get_secret_value())
    except ValueError:
        key = b""
    if len(key) != FERNET_KEY_BYTES:
        hint = "each key must be 32 bytes in URL-safe base64: `session-worker generate-key`"
        raise ValueError(hint)
    return value


def _login(value: SecretStr) -> SecretStr:
    user, _, password = value.get_secret_value().partition(":")
    if not user or not password:
        raise ValueError("must be user:password")
    return value


Text = Annotated[str, AfterValidator(utf_8)]
SecretText = Annotated[SecretStr, AfterValidator(_secret_text)]
FernetKey = Annotated[SecretStr, AfterValidator(_fernet_key)]
Login = Annotated[SecretText, AfterValidator(_login)]
# A year is longer than anything here may take, and short enough for later arithmetic.
Seconds = Annotated[
    timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0), le=timedelta(days=365))
]


# Reads a second; None is what Klarna documents and its answers name.
ReadLimit = Annotated[
    Annotated[float, Field(ge=0.1, le=100_000, allow_inf_nan=False)] | None,
    BeforeValidator(nothing_if_blank),
]


class _Environment(BaseSettings):
    model_config = ENVIRONMENT

    @classmethod
    def read(cls) -> Environment:
        """Return this kind's variables of the process, secrets from files included."""
        fields = {name.upper() for name in cls.model_fields}
        return read_environment(os.environ, lambda name: name.partition("__")[0] in fields)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give pydantic's own source of variables the secrets from files as well."""
        source = EnvSettingsSource(settings_cls)
        source.env_vars = {name.lower(): value for name, value in cls.read().variables.items()}
        return (init_settings, source)


class DatabaseSettings(_Environment):
    """What migrations need."""

    database_url: PostgresUrl


class ConsoleSettings(DatabaseSettings):
    """What the console needs: no Klarna secret, no key, no broker."""

    console_basic_auth: Annotated[tuple[Login, ...], NoDecode, BeforeValidator(comma_list)] = ()
    console_unauthenticated: bool = False
    console_database_url: Annotated[PostgresUrl | None, BeforeValidator(nothing_if_blank)] = None
    console_replay: bool = False

    @model_validator(mode="after")
    def _somebody_may_log_in(self) -> Self:
        if not self.console_basic_auth and not self.console_unauthenticated:
            raise ValueError("CONSOLE_BASIC_AUTH: must be user:password")
        if self.console_unauthenticated and self.console_replay:
            raise ValueError("CONSOLE_REPLAY: needs a login: take CONSOLE_UNAUTHENTICATED away")
        return self

    @property
    def logins(self) -> tuple[str, ...]:
        """Who may look, as user:password; nobody in particular where no login is asked for."""
        if self.console_unauthenticated:
            return ()
        return tuple(login.get_secret_value() for login in self.console_basic_auth)

    @property
    def reading_url(self) -> str:
        """The database's URL for reading, secret included."""
        return (self.console_database_url or self.database_url).get_secret_value()


class BrokerSettings(_Environment):
    """What Celery's own commands need, Flower among them: no Klarna secret."""

    redis_url: RedisUrl
    broker_url: Annotated[BrokerUrl | None, BeforeValidator(nothing_if_blank)] = None
    http_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0

    @property
    def effective_broker_url(self) -> str:
        """The broker's URL, secret included."""
        return (self.broker_url or self.redis_url).get_secret_value()


class PolicySettings(_Environment):
    """What a policy is fitted for."""

    poll_max_lifetime_seconds: Seconds = timedelta(seconds=172_800)
    poll_requests_per_session: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = (
        50.0
    )
    retention_days: Annotated[int, Field(ge=1, le=LONGEST_RETENTION_DAYS)] = 30


class HistorySettings(DatabaseSettings, PolicySettings):
    """What fitting a policy to the recorded changes needs: no Klarna secret."""


class KlarnaAccount(BaseModel):
    """One set of Klarna API credentials; they belong to one region and one environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    username: Annotated[Text, Field(min_length=1)]
    password: Annotated[SecretText, Field(min_length=1)]
    base_url: HttpUrl = KLARNA_LIVE
    read_limit: ReadLimit = None


class Settings(
    HistorySettings, BrokerSettings, WebhookSettings, ShopSystemSettings, TelemetrySettings
):
    """Everything a worker or beat process runs with."""

    klarna_username: Annotated[Text | None, BeforeValidator(nothing_if_blank)] = None
    klarna_password: Annotated[SecretText | None, BeforeValidator(nothing_if_blank)] = None
    klarna_base_url: HttpUrl = KLARNA_LIVE
    klarna_read_limit: ReadLimit = None
    klarna_accounts: dict[str, KlarnaAccount] = Field(default_factory=dict)
    klarna_quota_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.75
    klarna_proxy_url: Annotated[ProxyUrl | None, BeforeValidator(nothing_if_blank)] = None
    klarna_allowed_origins: Annotated[
        tuple[Origin, ...], NoDecode, BeforeValidator(comma_list), Field(min_length=1)
    ] = KLARNA_ORIGINS
    token_encryption_keys: Annotated[
        tuple[FernetKey, ...], NoDecode, BeforeValidator(comma_list), Field(min_length=1)
    ]

    poll_lease_seconds: Seconds = timedelta(seconds=30)
    poll_tasks_per_tick: Annotated[int, Field(ge=1, le=1000)] = 16
    poll_in_flight_per_account: Annotated[int, Field(ge=1, le=100_000)] = 500
    poll_expiry_grace_seconds: Annotated[
        timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0), le=timedelta(days=365))
    ] = timedelta(seconds=30)
    poll_max_interval_seconds: Seconds = timedelta(seconds=2400)
    # The shipped one where it is not set. Read, and scaled to the requests, by bootstrap.
    poll_policy_file: Annotated[Path | None, BeforeValidator(nothing_if_blank)] = None

    event_sinks: Annotated[
        tuple[SinkName, ...], NoDecode, BeforeValidator(comma_list), Field(min_length=1)
    ] = ("redis_stream",)
    event_stream: Annotated[str, Field(min_length=1)] = "payment-session-events"
    event_stream_retention_hours: Annotated[int, Field(ge=1, le=24 * LONGEST_RETENTION_DAYS)] = 72
    celery_event_task: Annotated[str, Field(min_length=1)] = "payment_session.event"
    celery_event_queue: Annotated[str, Field(min_length=1), AfterValidator(_queue_of_the_shop)] = (
        "celery"
    )
    confirmation_expected: bool = True
    # Kept young by a worker or beat that makes progress, for probes.
    progress_file: Annotated[Path | None, BeforeValidator(nothing_if_blank)] = None

    @property
    def accounts(self) -> Mapping[str, KlarnaAccount]:
        """Every configured account by its lower-cased name."""
        named = {name.lower(): account for name, account in self.klarna_accounts.items()}
        if self.klarna_username and self.klarna_password:
            named[DEFAULT_ACCOUNT] = KlarnaAccount(
                username=self.klarna_username,
                password=self.klarna_password,
                base_url=self.klarna_base_url,
                read_limit=self.klarna_read_limit,
            )
        return named

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if self.klarna_username and not self.klarna_password:
            raise ValueError("KLARNA_PASSWORD: is missing although KLARNA_USERNAME is set")
        if self.klarna_password and not self.klarna_username:
            raise ValueError("KLARNA_USERNAME: is missing although KLARNA_PASSWORD is set")
        if not self.accounts:
            raise ValueError("KLARNA_USERNAME: is missing, and KLARNA_PASSWORD with it")
        return self

    @property
    def delivery_sinks(self) -> tuple[str, ...]:
        """The names that deliveries are stored under: each webhook endpoint is one."""
        others = tuple(name for name in self.event_sinks if name != WEBHOOK)
        return others if others == self.event_sinks else (*others, *self.webhooks)

    @model_validator(mode="after")
    def _webhooks_have_an_endpoint(self) -> Self:
        if WEBHOOK in self.event_sinks and not self.webhooks:
            raise ValueError("WEBHOOK_URL: is missing although EVENT_SINKS names webhook")
        return self

    @model_validator(mode="after")
    def _shop_systems_are_whole(self) -> Self:
        if (missing := self.missing_for(self.event_sinks)) is not None:
            sink = missing.partition("_BASE_")[0].partition("_CLIENT_")[0].lower()
            raise ValueError(f"{missing}: is missing although EVENT_SINKS names {sink}")
        return self

    @model_validator(mode="after")
    def _base_urls_are_allowed(self) -> Self:
        for name, account in self.accounts.items():
            if account.base_url not in self.klarna_allowed_origins:
                variable = (
                    "KLARNA_BASE_URL"
                    if name == DEFAULT_ACCOUNT
                    else f"KLARNA_ACCOUNTS__{name.upper()}__BASE_URL"
                )
                raise ValueError(f"{variable}: is not listed in KLARNA_ALLOWED_ORIGINS")
        return self

    @model_validator(mode="after")
    def _lease_outlasts_request(self) -> Self:
        shortest = self.http_timeout_seconds + LEASE_MARGIN_SECONDS
        if self.poll_lease_seconds.total_seconds() < shortest:
            raise ValueError(
                f"POLL_LEASE_SECONDS: must be at least HTTP_TIMEOUT_SECONDS + "
                f"{LEASE_MARGIN_SECONDS} = {shortest:g}"
            )
        return self


class InvalidSettingsError(ValueError):
    """The environment is wrong; `faults` has one line for each fault, naming the variable."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


SettingsT = TypeVar("SettingsT", bound=_Environment)


def parse(kind: type[SettingsT]) -> SettingsT:
    """Return `kind` read from the environment.

    Raises:
        InvalidSettingsError: with one line per fault.
    """
    faults = kind.read().faults
    try:
        settings = kind()
    except ValidationError as error:
        # It imports this module.
        from config.misspelt import what_was_meant  # noqa: PLC0415

        found = [fault_of(detail, what_was_meant) for detail in error.errors()]
        others = [line for line in found if line.partition(":")[0] not in faults]
        raise InvalidSettingsError([*faults.values(), *others]) from None
    except SettingsError as error:
        # Of all variables only these, set by themselves, would be read as JSON.
        name = "WEBHOOK_ENDPOINTS" if "webhook_endpoints" in str(error) else "KLARNA_ACCOUNTS"
        field = "URL" if name == "WEBHOOK_ENDPOINTS" else "USERNAME"
        fault = f"{name}: is not set by itself: use {name}__<NAME>__{field}"
        raise InvalidSettingsError([fault]) from None
    if faults:
        raise InvalidSettingsError(list(faults.values()))
    return settings


def load(kind: type[SettingsT]) -> SettingsT:
    """Return `kind`, or print the faults to standard error and exit with code 2."""
    try:
        return parse(kind)
    except InvalidSettingsError as error:
        refuse(error)


def refuse(error: InvalidSettingsError) -> NoReturn:
    """Print the faults to standard error and exit with code 2."""
    sys.stderr.write("Wrong settings:\n" + "".join(f"  {line}\n" for line in error.faults))
    raise SystemExit(2) from None
