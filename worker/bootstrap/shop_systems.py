"""Builds the clients of the configured shop systems, for sinks and for `check`."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
from pydantic import SecretStr

from config.settings import Settings
from worker.adapters import clock, http_client
from worker.adapters.shop_systems import commerce_layer as _commerce_layer
from worker.adapters.shop_systems import payway as _payway
from worker.adapters.shop_systems.api_client import ShopSystem
from worker.adapters.shop_systems.oauth import AccessTokens, TokenRequest


def commerce_layer(stack: AsyncExitStack, settings: Settings) -> ShopSystem:
    """Return the client of Commerce Layer; EVENT_SINKS must name its sink."""
    fields = _credentials(
        settings.commerce_layer_client_id, settings.commerce_layer_client_secret
    ) | {"grant_type": "client_credentials"}
    if settings.commerce_layer_scope is not None:
        fields["scope"] = settings.commerce_layer_scope
    token_request = TokenRequest(
        url=settings.commerce_layer_auth_url,
        fields=fields,
        as_form=False,
        credentials="COMMERCE_LAYER_CLIENT_ID and COMMERCE_LAYER_CLIENT_SECRET",
    )
    base_url = f"{settings.commerce_layer_base_url}/api"
    return _system(stack, token_request, base_url=base_url, media_type=_commerce_layer.MEDIA_TYPE)


def payway(stack: AsyncExitStack, settings: Settings) -> ShopSystem:
    """Return the client of Payway; EVENT_SINKS must name its sink."""
    base_url = f"{settings.payway_base_url}"
    token_request = TokenRequest(
        url=f"{base_url}{_payway.ACCESS_TOKEN}",
        fields=_credentials(settings.payway_client_id, settings.payway_client_secret)
        | {"grant_type": settings.payway_grant_type, "scope": settings.payway_scope},
        as_form=True,
        credentials="PAYWAY_CLIENT_ID, PAYWAY_CLIENT_SECRET and PAYWAY_GRANT_TYPE",
    )
    return _system(stack, token_request, base_url=base_url, media_type=_payway.MEDIA_TYPE)


def _credentials(client_id: str | None, client_secret: SecretStr | None) -> dict[str, str]:
    """Both are set: otherwise the settings are invalid."""
    secret = client_secret.get_secret_value() if client_secret else ""
    return {"client_id": client_id or "", "client_secret": secret}


def _system(
    stack: AsyncExitStack, token_request: TokenRequest, *, base_url: str, media_type: str
) -> ShopSystem:
    client = http_client.open_client(context=httpx.create_ssl_context(), headers={})
    stack.push_async_callback(client.aclose)
    tokens = AccessTokens(client, token_request, monotonic=clock.monotonic)
    return ShopSystem(client, tokens, base_url=base_url, media_type=media_type)
