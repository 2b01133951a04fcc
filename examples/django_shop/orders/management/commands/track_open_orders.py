"""`manage.py track_open_orders`, for cron: an enqueued session can get lost with the broker."""

from django.core.management.base import BaseCommand

from orders import tasks
from orders.models import Order


class Command(BaseCommand):
    """Enqueues every open order again: those tracked already are only polled sooner."""

    help = "Enqueue the payment sessions of open orders again."

    def handle(self, **_: object) -> None:
        """Send one task for each."""
        for order in Order.objects.filter(state=Order.State.PENDING).iterator():
            tasks.track(order)
            self.stdout.write(f"{order.reference} {order.session_id}")
