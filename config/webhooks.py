"""Webhook endpoints in the environment: one by default, any number by name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode

from config.urls import WebhookUrl
from config.values import ENVIRONMENT, by_lower_cased_name, comma_list, nothing_if_blank
from worker.domain.events import EventType

SINK = "webhook"
DEFAULT_ENDPOINT = "default"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PREFIX = "whsec_"
# Standard Webhooks 1.0.
_FEWEST_BYTES, _MOST_BYTES = 24, 64


def _webhook_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(
            f"each secret must be {_PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} bytes in base64: "
            f'"{_PREFIX}$(openssl rand -base64 32)"'
        )
    return value


Secrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_webhook_secret)], ...],
    NoDecode,
    BeforeValidator(comma_list),
]
Events = Annotated[
    tuple[EventType, ...] | None,
    NoDecode,
    BeforeValidator(comma_list),
    BeforeValidator(nothing_if_blank),
]


class WebhookEndpointSettings(BaseModel):
    """One endpoint; `events` None means every type."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: WebhookUrl
    secrets: Annotated[Secrets, Field(min_length=1)]
    events: Events = None


class WebhookSettings(BaseSettings):
    """Where the sink `webhook` sends."""

    model_config = ENVIRONMENT

    webhook_url: Annotated[WebhookUrl | None, BeforeValidator(nothing_if_blank)] = None
    webhook_secrets: Annotated[Secrets | None, NoDecode, BeforeValidator(nothing_if_blank)] = None
    webhook_events: Events = None
    webhook_endpoints: Annotated[
        dict[str, WebhookEndpointSettings], BeforeValidator(by_lower_cased_name)
    ] = Field(default_factory=dict)
    webhook_allow_private: bool = False

    @property
    def webhooks(self) -> Mapping[str, WebhookEndpointSettings]:
        """Every endpoint by the sink name of its deliveries."""
        return {
            SINK if name == DEFAULT_ENDPOINT else f"{SINK}:{name}": endpoint
            for name, _, endpoint in self._named_endpoints()
        }

    def _named_endpoints(self) -> Iterator[tuple[str, str, WebhookEndpointSettings]]:
        """Each with its name and the prefix of its variables; WEBHOOK_URL wins."""
        if self.webhook_url and self.webhook_secrets:
            yield (
                DEFAULT_ENDPOINT,
                "WEBHOOK_",
                WebhookEndpointSettings(
                    url=self.webhook_url, secrets=self.webhook_secrets, events=self.webhook_events
                ),
            )
        for name, endpoint in self.webhook_endpoints.items():
            if name != DEFAULT_ENDPOINT or not self.webhook_url:
                yield name, f"WEBHOOK_ENDPOINTS__{name.upper()}__", endpoint

    @model_validator(mode="after")
    def _default_endpoint_is_whole(self) -> Self:
        if self.webhook_url and not self.webhook_secrets:
            raise ValueError("WEBHOOK_SECRETS: is missing although WEBHOOK_URL is set")
        if self.webhook_secrets and not self.webhook_url:
            raise ValueError("WEBHOOK_URL: is missing although WEBHOOK_SECRETS is set")
        return self

    @model_validator(mode="after")
    def _endpoints_are_named_and_safe(self) -> Self:
        for name, prefix, endpoint in self._named_endpoints():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    "WEBHOOK_ENDPOINTS__<NAME>: a name must be letters, digits, - and _, 64 at most"
                )
            is_https = endpoint.url.get_secret_value().lower().startswith("https://")
            if not is_https and not self.webhook_allow_private:
                raise ValueError(f"{prefix}URL: must be https, unless WEBHOOK_ALLOW_PRIVATE=true")
        return self
