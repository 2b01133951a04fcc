"""The environment as frozen, typed settings; the only place that reads it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from config.fields import FernetKey, Login, Seconds, seconds
from config.klarna import KlarnaAccount, KlarnaSettings, account_variables
from config.loading import EnvironmentSettings, InvalidSettingsError, load, parse, refuse
from config.shop_systems import ShopSystemSettings
from config.telemetry import TelemetrySettings
from config.urls import BrokerUrl, PostgresUrl, RedisUrl
from config.values import comma_list, nothing_if_blank
from config.webhooks import SINK as WEBHOOK
from config.webhooks import WebhookSettings

__all__ = [
    "SHIPPED_POLICY",
    "BrokerSettings",
    "ConsoleSettings",
    "DatabaseSettings",
    "HistorySettings",
    "InvalidSettingsError",
    "KlarnaAccount",
    "PolicySettings",
    "ProgressSettings",
    "Settings",
    "account_variables",
    "load",
    "parse",
    "refuse",
]

# Made by `python -m benchmarks.shipped_policy`; docs/polling.md explains it.
SHIPPED_POLICY = Path(__file__).with_name("poll_policy.jsonl")
# A lease must outlast the request it guards, with time to load and to record.
LEASE_MARGIN_SECONDS = 5
# A hundred years, so that dates can be computed with it.
LONGEST_RETENTION_DAYS = 36_500

# The workers consume these: an event sent there would be discarded as an unknown task.
OWN_QUEUES = ("payment-sessions", "payment-sessions-polls", "payment-sessions-events")

SinkName = Literal["redis_stream", "webhook", "celery", "commerce_layer", "payway"]


def _queue_of_the_shop(value: str) -> str:
    if value in OWN_QUEUES:
        raise ValueError("is one of the worker's own queues: name one that the shop consumes")
    return value


class DatabaseSettings(EnvironmentSettings):
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
            raise ValueError("CONSOLE_REPLAY: needs a login: remove CONSOLE_UNAUTHENTICATED")
        return self

    @property
    def logins(self) -> tuple[str, ...]:
        """The logins as user:password; empty where no login is needed."""
        if self.console_unauthenticated:
            return ()
        return tuple(login.get_secret_value() for login in self.console_basic_auth)

    @property
    def reading_url(self) -> str:
        """The database's URL for reading, secret included."""
        return (self.console_database_url or self.database_url).get_secret_value()


class BrokerSettings(EnvironmentSettings):
    """What Celery's own commands need, Flower among them: no Klarna secret."""

    redis_url: RedisUrl
    broker_url: Annotated[BrokerUrl | None, BeforeValidator(nothing_if_blank)] = None
    http_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0

    @property
    def effective_broker_url(self) -> str:
        """The broker's URL, secret included."""
        return (self.broker_url or self.redis_url).get_secret_value()


class ProgressSettings(EnvironmentSettings):
    """What the liveness probe needs."""

    # A worker or beat that makes progress updates it regularly, for probes.
    progress_file: Annotated[Path | None, BeforeValidator(nothing_if_blank)] = None


class PolicySettings(EnvironmentSettings):
    """What a policy is fitted for."""

    poll_max_lifetime_seconds: Seconds = timedelta(seconds=172_800)
    poll_requests_per_session: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = (
        50.0
    )
    retention_days: Annotated[int, Field(ge=1, le=LONGEST_RETENTION_DAYS)] = 30


class HistorySettings(DatabaseSettings, PolicySettings):
    """What fitting a policy to the recorded changes needs: no Klarna secret."""


class Settings(
    HistorySettings,
    BrokerSettings,
    ProgressSettings,
    KlarnaSettings,
    WebhookSettings,
    ShopSystemSettings,
    TelemetrySettings,
):
    """Everything a worker or beat process runs with."""

    token_encryption_keys: Annotated[
        tuple[FernetKey, ...], NoDecode, BeforeValidator(comma_list), Field(min_length=1)
    ]

    poll_lease_seconds: Seconds = timedelta(seconds=30)
    poll_tasks_per_tick: Annotated[int, Field(ge=1, le=1000)] = 16
    poll_in_flight_per_account: Annotated[int, Field(ge=1, le=100_000)] = 500
    poll_expiry_grace_seconds: Annotated[
        timedelta, BeforeValidator(seconds), Field(ge=timedelta(0), le=timedelta(days=365))
    ] = timedelta(seconds=30)
    poll_max_interval_seconds: Seconds = timedelta(seconds=2400)
    # Not set: the shipped policy. Bootstrap reads it and scales it to the requests.
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
    def _lease_outlasts_request(self) -> Self:
        shortest = self.http_timeout_seconds + LEASE_MARGIN_SECONDS
        if self.poll_lease_seconds.total_seconds() < shortest:
            raise ValueError(
                f"POLL_LEASE_SECONDS: must be at least HTTP_TIMEOUT_SECONDS + "
                f"{LEASE_MARGIN_SECONDS} = {shortest:g}"
            )
        return self
