"""The part of the control API's client that concerns Commerce Layer and Payway."""

from typing import Any, Literal

from devkit.sandbox.client_connection import ControlConnection

ShopSystem = Literal["commerce_layer", "payway"]


class ShopSystemsClient(ControlConnection):
    """Creates payments and purchases in the shop systems; lists their orders."""

    def create_klarna_payment(self, session_id: str, *, linked: bool = True) -> dict[str, Any]:
        """Create an order at Commerce Layer paid by this KP session: `order_id` and `resource`.

        `linked`: the resource names its order, as Commerce Layer does when asked to include it.
        """
        wanted = {"session_id": session_id, "linked": linked}
        return dict(self.ask("POST", "/commerce_layer/payments", json=wanted))

    def orders(self) -> list[dict[str, Any]]:
        """List Commerce Layer's orders: `order_id`, `status`, `klarna_order_id`, `places`."""
        return list(self.ask("GET", "/commerce_layer/orders")["orders"])

    def set_order_status(self, order_id: str, status: str) -> None:
        """Set the status of an order at Commerce Layer."""
        self.ask("PUT", f"/commerce_layer/orders/{order_id}", json={"status": status})

    def create_purchase(self, session_id: str) -> dict[str, Any]:
        """Create a purchase at Payway paid by this KP session; return create_session's response."""
        return dict(self.ask("POST", "/payway/purchases", json={"session_id": session_id}))

    def purchases(self) -> list[dict[str, Any]]:
        """List Payway's purchases: `handle`, `order_id` once placed, `merchant_reference`."""
        return list(self.ask("GET", "/payway/purchases")["purchases"])

    def access_tokens(self, system: ShopSystem) -> int:
        """Return how many access tokens were issued."""
        return int(self.ask("GET", f"/{system}/tokens")["issued"])

    def revoke_access_tokens(self, system: ShopSystem) -> None:
        """Revoke every access token."""
        self.ask("DELETE", f"/{system}/tokens")
