"""The shop systems of one mock server, and which of them a path belongs to."""

from devkit.sandbox.accounts import Account
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.responses import Response
from devkit.sandbox.shops import commerce_layer, payway
from devkit.sandbox.shops.klarna import Klarna

NAMES = (commerce_layer.NAME, payway.NAME)
_PATHS = commerce_layer.PATHS + payway.PATHS


class ShopSystems:
    """Commerce Layer and Payway, empty at first."""

    def __init__(self, klarna: Klarna) -> None:
        self.commerce_layer = commerce_layer.CommerceLayer(klarna)
        self.payway = payway.Payway(klarna)

    def account_of(self, path: str) -> Account | None:
        """Return whose endpoint a path is, under its system's name; None for Klarna's own."""
        if not path.startswith(_PATHS):
            return None
        return self._system(path).account

    async def respond(self, exchange: Exchange) -> Response:
        """Return the response of the system that the path belongs to."""
        return await self._system(exchange.path).respond(exchange)

    def _system(self, path: str) -> commerce_layer.CommerceLayer | payway.Payway:
        return self.commerce_layer if path.startswith(commerce_layer.PATHS) else self.payway
