"""Keeps the messages that are not taken in, and tries again those that time may heal."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from worker.domain.refused_messages import (
    LARGEST_BODY,
    SHORTEST_WAIT,
    UNFORESEEN,
    RefusalReason,
    Resolution,
    ids_in,
    next_try_at,
    reason_of,
)
from worker.services.errors import UnavailableError, UnstorableTextError
from worker.services.retrying import MESSAGE_HELD_SECONDS, retry_until

log = structlog.get_logger(__name__)

# Longer than a try may take: nobody else claims the message meanwhile.
TRY_LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A task message as it came.

    `body` identifies it together with the task id; `envelope` is what a later try needs: JSON
    text. `session_id` and `reference` are sound, or None.
    """

    task: str
    task_id: str
    body: bytes
    envelope: str
    session_id: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """What is stored of a refused message; `arguments` are encrypted, None if too large."""

    task: str
    task_id: str
    body_hash: bytes
    session_id: str | None
    reference: str | None
    arguments: bytes | None
    argument_hashes: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedMessage:
    """A refused message under a lease, to be tried again; times are the database's."""

    refused_id: int
    task: str
    task_id: str
    arguments: bytes | None
    received_at: datetime
    claimed_at: datetime


class RefusedMessages(Protocol):
    """Refused messages at rest. All methods raise UnavailableError."""

    async def keep(
        self, message: KeptMessage, reason: RefusalReason, *, first_wait: timedelta | None
    ) -> bool:
        """Keep the message, unless it is kept already; returns False where the table is full."""

    async def claim(self, refused_ids: Sequence[int], *, lease: timedelta) -> list[ClaimedMessage]:
        """Claim those of the messages that are due."""

    async def postpone(
        self,
        refused_id: int,
        reason: RefusalReason,
        *,
        next_try_at: datetime | None,
        counted: bool,
    ) -> None:
        """Note why a try failed and when the next one is."""

    async def resolve(self, refused_id: int, resolution: Resolution) -> None:
        """End a message; its arguments are deleted at once."""


class ArgumentCipher(Protocol):
    """Arguments at rest."""

    def encrypt(self, token: str) -> bytes:
        """Encrypt with the first key."""

    def decrypt(self, encrypted: bytes) -> str:
        """Decrypt with any key."""

    def hashes(self, text: str) -> list[bytes]:
        """Return the keyed hash of `text` by each key."""


class Meter(Protocol):
    """What is counted of refused messages."""

    def message_refused(self, task: str, field: str, *, kept: bool) -> None:
        """A message was not taken in."""

    def message_dropped(self) -> None:
        """A message that cannot be read as one was dropped."""


# Takes in a message again: its task, its envelope and when it came. Raises what taking in raises;
# returns False where a newer message of its session has overtaken it.
TakeIn = Callable[[str, str, datetime], Awaitable[bool]]


class RefusedMessagesService:
    """`take_in` is what the task of a message does; `monotonic` returns seconds."""

    def __init__(
        self,
        messages: RefusedMessages,
        cipher: ArgumentCipher,
        take_in: TakeIn,
        *,
        meter: Meter,
        monotonic: Callable[[], float],
    ) -> None:
        self._monotonic = monotonic
        self._stopping = False
        self._messages = messages
        self._cipher = cipher
        self._take_in = take_in
        self._meter = meter

    def stop(self) -> None:
        """Wait no longer for an unavailable database: the messages go back to their queue."""
        self._stopping = True

    async def keep(self, message: ReceivedMessage, reason: RefusalReason) -> None:
        """Keep a message that is not taken in; to be acknowledged afterwards.

        Raises UnavailableError if it cannot be kept now: the message must stay with the broker.
        """
        kept = await retry_until(
            self._monotonic() + MESSAGE_HELD_SECONDS,
            partial(self._keep, message, reason),
            monotonic=self._monotonic,
            stopping=lambda: self._stopping,
            on_retry=lambda error: log.warning(
                "refused_message_retrying", task_id=message.task_id, error=str(error)
            ),
        )
        self._meter.message_refused(message.task, reason.field, kept=kept)
        log.warning(
            "message_refused",
            task=message.task,
            task_id=message.task_id,
            session_id=message.session_id,
            field=reason.field,
            reason=reason.reason,
            kept=kept,
        )

    async def _keep(self, message: ReceivedMessage, reason: RefusalReason) -> bool:
        try:
            return await self._store(message, reason)
        except UnavailableError:
            raise
        except UnstorableTextError:
            return await self._store(replace(message, reference=None), reason)
        except Exception as error:
            # Whatever it is: the message is the only copy, and must not be acknowledged.
            raise UnavailableError(f"cannot be kept: {type(error).__name__}") from error

    async def _store(self, message: ReceivedMessage, reason: RefusalReason) -> bool:
        fits = len(message.envelope) <= LARGEST_BODY
        ids = ids_in(message.envelope) if fits else []
        return await self._messages.keep(
            KeptMessage(
                task=message.task,
                task_id=message.task_id,
                body_hash=hashlib.sha256(message.body).digest(),
                session_id=message.session_id,
                reference=message.reference,
                arguments=self._cipher.encrypt(message.envelope) if fits else None,
                argument_hashes=[self._cipher.hashes(each)[0] for each in ids],
            ),
            reason,
            first_wait=SHORTEST_WAIT if reason.heals and fits else None,
        )

    def drop_unreadable(self, reason: str) -> None:
        """Count and log a message that cannot be read as one at all: nothing of it is kept."""
        self._meter.message_dropped()
        log.error("message_dropped", reason=reason)

    async def retry(self, refused_ids: Sequence[int]) -> None:
        """Try the messages again that are due; one that fails keeps no other from its try."""
        for claimed in await self._messages.claim(refused_ids, lease=TRY_LEASE):
            await self._retry(claimed)

    async def _retry(self, claimed: ClaimedMessage) -> None:
        if claimed.arguments is None:
            gone = RefusalReason(field="arguments", reason="are not kept any more")
            await self._messages.postpone(claimed.refused_id, gone, next_try_at=None, counted=False)
            return
        try:
            envelope = self._cipher.decrypt(claimed.arguments)
            taken = await self._take_in(claimed.task, envelope, claimed.received_at)
        except Exception as error:
            reason = reason_of(error)
            if reason.field == UNFORESEEN:
                log.exception(
                    "refused_message_crashed",
                    refused_id=claimed.refused_id,
                    task=claimed.task,
                    task_id=claimed.task_id,
                )
            await self._messages.postpone(
                claimed.refused_id,
                reason,
                next_try_at=next_try_at(
                    reason, received_at=claimed.received_at, now=claimed.claimed_at
                ),
                # An account that this process does not know says nothing of the message.
                counted=not reason.of_process,
            )
            return
        resolution = Resolution.TAKEN if taken else Resolution.SUPERSEDED
        await self._messages.resolve(claimed.refused_id, resolution)
        log.info(
            "refused_message_resolved",
            refused_id=claimed.refused_id,
            task=claimed.task,
            task_id=claimed.task_id,
            resolution=resolution,
        )
