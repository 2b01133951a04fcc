"""Takes in what shops send: from the arguments of a task to the call of a service.

Both a task and a later try of a refused message come through here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.adapters.klarna.wire_models import parse_creation
from worker.adapters.shop_systems.documents import ShopPayment, parse_klarna_payment, parse_purchase
from worker.contract import tasks as contract
from worker.contract.tasks import TaskArguments
from worker.domain.confirmation import ConfirmEffect
from worker.domain.errors import InvalidArgumentError
from worker.domain.refused_messages import RefusalReason
from worker.domain.session import Kind
from worker.domain.track_arguments import TrackArguments
from worker.domain.tracking import TrackEffect
from worker.services.refused_messages import ReceivedMessage
from worker.services.track import Sent

if TYPE_CHECKING:
    from worker.bootstrap.worker import WorkerServices

KEEP_REFUSED = "payment_sessions.keep_refused"
RETRY_REFUSED = "payment_sessions.retry_refused"
# The header in which the consumer hands over the ETA of a message: it is taken in at once.
FIRST_POLL_AT = "first_poll_at"
LONGEST_NAME = 64
# Version 00: trace id, span id, flags. W3C Trace Context, section 3.2.
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Effect = TrackEffect | ConfirmEffect


class UnreadableMessageError(InvalidArgumentError):
    """A kept message whose arguments this worker cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of one of the shop's tasks; nothing in its arguments is trusted."""

    task: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    sent: Sent

    def arguments(self) -> bytes:
        """Return the arguments as bytes, the same for the same message."""
        return json.dumps([self.args, self.kwargs], default=str, sort_keys=True).encode()

    def envelope(self) -> str:
        """Return it as JSON text, for a later try."""
        at = self.sent.first_poll_at
        return json.dumps(
            {
                "args": self.args,
                "kwargs": self.kwargs,
                "trace_parent": self.sent.trace_parent,
                "first_poll_at": at.isoformat() if at else None,
            },
            default=str,
        )


def call_from_envelope(task: str, envelope: str, *, asked_at: datetime) -> Call:
    """Return the call that an envelope holds.

    Raises:
        UnreadableMessageError: it was kept undecoded.
    """
    kept = json.loads(envelope)
    if "args" not in kept:
        raise UnreadableMessageError("message", "cannot be decoded by this worker")
    return Call(
        task=task,
        args=tuple(kept["args"]),
        kwargs=kept["kwargs"],
        sent=Sent(
            trace_parent=kept["trace_parent"],
            first_poll_at=as_time(kept["first_poll_at"]),
            asked_at=asked_at,
        ),
    )


def refused_by_consumer(refused: Mapping[str, str]) -> tuple[ReceivedMessage, RefusalReason]:
    """Return a message that the consumer could not hand to its task, and why.

    `refused` has `task`, `task_id`, `field`, `reason`, `body` (base64), `content_type`,
    `content_encoding` and `compression`. The body stays as it came: it is not decoded here, and
    never unpickled.
    """
    message = ReceivedMessage(
        task=refused["task"],
        task_id=refused["task_id"],
        body=base64.b64decode(refused["body"]),
        envelope=json.dumps(dict(refused)),
    )
    return message, RefusalReason(field=refused["field"], reason=refused["reason"])


def printable(name: str) -> str:
    """Return a name that the sender chose as logs and the database may show it."""
    return "".join(
        each if each.isascii() and each.isprintable() else "?" for each in name[:LONGEST_NAME]
    )


def as_time(value: object) -> datetime | None:
    """Return a time that a message's header names, or None: such a header refuses no message."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.utcoffset() is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def as_trace_parent(value: object) -> str | None:
    """Return the shop's span, if its message has one: the header of W3C's Trace Context."""
    return value if isinstance(value, str) and _TRACE_PARENT.fullmatch(value) else None


async def take_in(services: WorkerServices, call: Call) -> Effect:
    """Do what the task says.

    Raises:
        TrackError: naming the field at fault; nothing was stored.
        UnavailableError: the database stayed unavailable.
    """
    if call.task not in _TASKS:
        raise InvalidArgumentError("task", "is not a task of this worker")
    published, handler = _TASKS[call.task]
    return await handler(services, _named(published, call.args, call.kwargs), call.sent)


async def take_in_again(
    services: WorkerServices, task: str, envelope: str, received_at: datetime
) -> bool:
    """Take in a message that was refused at first, as of the time it came.

    Returns whether it was taken in: a newer message of its session may have overtaken it.

    Raises:
        TrackError, UnavailableError: as `take_in`.
    """
    effect = await take_in(services, call_from_envelope(task, envelope, asked_at=received_at))
    return effect is not TrackEffect.SUPERSEDED


def _named(
    published: type[TaskArguments], given: tuple[object, ...], named: dict[str, object]
) -> dict[str, object]:
    """Return the arguments by name. A wrong one is the shop's mistake, not a TypeError of ours."""
    names = tuple(published.model_fields)
    for name in sorted(named):
        if name not in names:
            raise InvalidArgumentError(_shown_name(name), "is not an argument of this task")
        if name in names[: len(given)]:
            raise InvalidArgumentError(name, "is given twice")
    if len(given) > len(names):
        raise InvalidArgumentError("arguments", f"are {len(given) - len(names)} too many")
    return dict(zip(names, given, strict=False)) | named


def _shown_name(name: str) -> str:
    """Return an unknown argument's name, if it looks like one: logs and Flower show it."""
    return name if name.isidentifier() and len(name) <= LONGEST_NAME else "arguments"


async def _track(services: WorkerServices, arguments: TrackArguments, sent: Sent) -> Effect:
    return await services.track.track(arguments, sent=sent)


async def _track_created(
    services: WorkerServices, arguments: dict[str, object], sent: Sent
) -> Effect:
    created = parse_creation(arguments.pop("response", None))
    known: TrackArguments = {
        "session_id": created.session_id,
        "session_url": created.session_url,
        "expires_at": created.expires_at,
        "kind": Kind.HPP,
    }
    return await services.track.track(arguments | known, sent=sent)


async def _track_klarna_payment(
    services: WorkerServices, arguments: dict[str, object], sent: Sent
) -> Effect:
    payment = parse_klarna_payment(arguments.pop("resource", None))
    return await _track_shop_payment(services, payment, arguments, sent)


async def _track_payway(
    services: WorkerServices, arguments: dict[str, object], sent: Sent
) -> Effect:
    purchase = parse_purchase(arguments.pop("response", None), arguments.pop("session_id", None))
    return await _track_shop_payment(services, purchase, arguments, sent)


async def _track_shop_payment(
    services: WorkerServices, payment: ShopPayment, arguments: dict[str, object], sent: Sent
) -> Effect:
    """Track a shop system's payment: always of a KP session."""
    known: TrackArguments = {"session_id": payment.session_id, "kind": Kind.KP}
    return await services.track.track(arguments | known, payment.shop_objects, sent)


async def _confirm_order(
    services: WorkerServices, arguments: dict[str, object], sent: Sent
) -> Effect:
    del sent
    return await services.confirmation.confirm_order(
        arguments.get("session_id"), arguments.get("order_id")
    )


Handler = Callable[[Any, dict[str, object], Sent], Awaitable[Effect]]
_TASKS: Mapping[str, tuple[type[TaskArguments], Handler]] = {
    contract.Track.task: (contract.Track, _track),
    contract.TrackCreated.task: (contract.TrackCreated, _track_created),
    contract.TrackKlarnaPayment.task: (contract.TrackKlarnaPayment, _track_klarna_payment),
    contract.TrackPayway.task: (contract.TrackPayway, _track_payway),
    contract.ConfirmOrder.task: (contract.ConfirmOrder, _confirm_order),
}
SHOP_TASKS = frozenset(_TASKS)
