"""Plays the faults one exchange meets: waits, then changes to the answer, then its way out."""

from collections.abc import Awaitable, Callable, Sequence

from devkit.sandbox.answers import Answer
from devkit.sandbox.deliveries import deliver
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.faults import AnyFault, Delay, Delivery, Replacement, Rewrite, Wait
from devkit.sandbox.held_responses import HeldReplies
from devkit.sandbox.response_edits import replacement, rewritten


async def play(
    faults: Sequence[AnyFault],
    exchange: Exchange,
    held: HeldReplies,
    answer: Callable[[Exchange], Awaitable[Answer]],
) -> None:
    """Return an exchange that meets `faults`; `answer` gives what would have come without them."""
    await exchange.body()
    fresh = any(isinstance(fault, Wait) and fault.fresh for fault in faults)
    early = None if fresh else await _changed(faults, exchange, answer)
    for fault in faults:
        if isinstance(fault, Wait) and not await _wait(fault, exchange, held):
            return
    final = early if early is not None else await _changed(faults, exchange, answer)
    exchange.status = final.status
    delivery = next((fault for fault in faults if isinstance(fault, Delivery)), None)
    if delivery is None:
        await exchange.write(final)
    else:
        await deliver(delivery, final, exchange)


async def _wait(fault: Wait, exchange: Exchange, held: HeldReplies) -> bool:
    """Return False if there is nobody left to answer."""
    if isinstance(fault, Delay):
        return not await exchange.left_within(fault.delay_seconds)
    return await held.hold(exchange)


async def _changed(
    faults: Sequence[AnyFault],
    exchange: Exchange,
    answer: Callable[[Exchange], Awaitable[Answer]],
) -> Answer:
    replacing = next((fault for fault in faults if isinstance(fault, Replacement)), None)
    if replacing is not None:
        changed = replacement(replacing, exchange.correlation_id)
    else:
        changed = await answer(exchange)
    for fault in faults:
        if isinstance(fault, Rewrite):
            changed = rewritten(changed, fault)
    return changed
