"""Shop systems in the environment: where orders are placed, and with which credentials."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings

from config.fields import SecretText, Text
from config.urls import HttpUrl
from config.values import ENVIRONMENT, nothing_if_blank

_TOKEN_URL = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)+"
)
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REQUIRED = {
    "commerce_layer": ("base_url", "client_id", "client_secret"),
    "payway": ("base_url", "client_id", "client_secret"),
}


def _safe(value: str) -> str:
    """Credentials are sent there: without TLS only to this machine, such as to the mock server."""
    parts = urlsplit(value)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be https, unless it is this machine")
    return value


def _token_url(value: str) -> str:
    """Return a URL with a path; an origin has none."""
    if not _TOKEN_URL.fullmatch(value):
        raise ValueError("must look like https://host/path: no query, no user info")
    return _safe(value)


ShopUrl = Annotated[
    Annotated[HttpUrl, AfterValidator(_safe)] | None, BeforeValidator(nothing_if_blank)
]
Name = Annotated[Text | None, BeforeValidator(nothing_if_blank)]
Secret = Annotated[SecretText | None, BeforeValidator(nothing_if_blank)]


class ShopSystemSettings(BaseSettings):
    """What the sinks `commerce_layer` and `payway` place orders with."""

    model_config = ENVIRONMENT

    commerce_layer_base_url: ShopUrl = None
    commerce_layer_client_id: Name = None
    commerce_layer_client_secret: Secret = None
    commerce_layer_auth_url: Annotated[str, AfterValidator(_token_url)] = (
        "https://auth.commercelayer.io/oauth/token"
    )
    commerce_layer_scope: Name = None
    payway_base_url: ShopUrl = None
    payway_client_id: Name = None
    payway_client_secret: Secret = None
    payway_scope: Annotated[str, Field(min_length=1)] = "/external/klarna_payments/w"
    payway_grant_type: Annotated[str, Field(min_length=1)] = "none"

    def missing_for(self, sinks: Collection[str]) -> str | None:
        """Return the first variable that one of these sinks needs and nobody set."""
        for sink, names in _REQUIRED.items():
            for name in names:
                if sink in sinks and getattr(self, f"{sink}_{name}") is None:
                    return f"{sink}_{name}".upper()
        return None
