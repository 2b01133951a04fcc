"""Applies the faults of one exchange: waits, changes the response, sends it."""

from collections.abc import Awaitable, Callable, Sequence

from devkit.sandbox.deliveries import deliver
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.faults import AnyFault, Delay, Delivery, Replacement, ResponseEdit, Wait
from devkit.sandbox.held_responses import HeldResponses
from devkit.sandbox.response_edits import edited, replacement
from devkit.sandbox.responses import Response


async def apply_faults(
    faults: Sequence[AnyFault],
    exchange: Exchange,
    held: HeldResponses,
    respond: Callable[[Exchange], Awaitable[Response]],
) -> None:
    """Respond to an exchange with `faults`; `respond` returns the response without them."""
    await exchange.body()
    fresh = any(isinstance(fault, Wait) and fault.fresh for fault in faults)
    early = None if fresh else await _changed(faults, exchange, respond)
    for fault in faults:
        if isinstance(fault, Wait) and not await _wait(fault, exchange, held):
            return
    final = early if early is not None else await _changed(faults, exchange, respond)
    exchange.status = final.status
    delivery = next((fault for fault in faults if isinstance(fault, Delivery)), None)
    if delivery is None:
        await exchange.write(final)
    else:
        await deliver(delivery, final, exchange)


async def _wait(fault: Wait, exchange: Exchange, held: HeldResponses) -> bool:
    """Return False if the client has left."""
    if isinstance(fault, Delay):
        return not await exchange.left_within(fault.delay_seconds)
    return await held.hold(exchange)


async def _changed(
    faults: Sequence[AnyFault],
    exchange: Exchange,
    respond: Callable[[Exchange], Awaitable[Response]],
) -> Response:
    replacing = next((fault for fault in faults if isinstance(fault, Replacement)), None)
    if replacing is not None:
        changed = replacement(replacing, exchange.correlation_id)
    else:
        changed = await respond(exchange)
    for fault in faults:
        if isinstance(fault, ResponseEdit):
            changed = edited(changed, fault)
    return changed
