"""An order, and the events that were acted upon."""

from django.db import models


class Order(models.Model):
    """One order; `session_id` is its payment session at Klarna."""

    class State(models.TextChoices):
        """How far it has come."""

        PENDING = "pending"
        PLACING = "placing"
        PLACED = "placed"
        # Klarna has the order, and its answer got lost: see `orders.klarna.place_order`.
        PLACED_ID_UNKNOWN = "placed_id_unknown"
        # There may be an order or none: look in Klarna's Merchant Portal, by the reference.
        UNCLEAR = "unclear"
        TOO_LATE = "too_late"
        RELEASED = "released"

    reference = models.CharField(max_length=64, unique=True)
    session_id = models.CharField(max_length=128, unique=True)
    state = models.CharField(max_length=32, choices=State.choices, default=State.PENDING)
    klarna_order_id = models.CharField(max_length=128, blank=True)

    def __str__(self) -> str:
        return f"{self.reference} {self.state}"


class ProcessedEvent(models.Model):
    """An event that was acted upon, written in the same transaction as what it did."""

    event_id = models.UUIDField(primary_key=True)

    def __str__(self) -> str:
        return str(self.event_id)
