"""The shop systems of one stand-in, and which of them a path belongs to."""

from typing import TYPE_CHECKING

from devkit.sandbox.accounts import Account
from devkit.sandbox.answers import Answer
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.shops import commerce_layer, payway

if TYPE_CHECKING:
    from devkit.sandbox.state import Sandbox

NAMES = (commerce_layer.NAME, payway.NAME)
_PATHS = commerce_layer.PATHS + payway.PATHS


class ShopSystems:
    """Commerce Layer and Payway, as new."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self.commerce_layer = commerce_layer.CommerceLayer(sandbox)
        self.payway = payway.Payway(sandbox)

    def account_of(self, path: str) -> Account | None:
        """Return whose endpoint a path is, under its system's name; None for Klarna's own."""
        if not path.startswith(_PATHS):
            return None
        return self._system(path).account

    async def answer(self, exchange: Exchange) -> Answer:
        """Return what the system that the path belongs to would answer."""
        return await self._system(exchange.path).answer(exchange)

    def _system(self, path: str) -> commerce_layer.CommerceLayer | payway.Payway:
        return self.commerce_layer if path.startswith(commerce_layer.PATHS) else self.payway
