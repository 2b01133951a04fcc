"""check's question to the shop systems: do they grant an access token? Nothing else is asked."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from config.settings import Settings
from worker.bootstrap.shop_systems import commerce_layer, payway
from worker.domain.deliveries import COMMERCE_LAYER, PAYWAY
from worker.services.errors import DeliveryError

_SYSTEMS = {COMMERCE_LAYER: commerce_layer, PAYWAY: payway}


def shop_systems(settings: Settings) -> dict[str, str | None]:
    """Return each shop system that EVENT_SINKS names, with what is wrong or None."""
    return anyio.run(_asked, settings)


async def _asked(settings: Settings) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    async with AsyncExitStack() as stack:
        for sink, connect in _SYSTEMS.items():
            if sink not in settings.event_sinks:
                continue
            try:
                await connect(stack, settings).authorize()
            except DeliveryError as error:
                found[sink] = str(error)
            else:
                found[sink] = None
    return found
