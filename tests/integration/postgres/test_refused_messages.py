"""Refused messages at rest: one row each, tried under a lease, their arguments encrypted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.stored import Stored
from worker.adapters import clock
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.refused import repository
from worker.adapters.postgres.refused.repository import PostgresRefusedMessages
from worker.domain.errors import InvalidArgumentError, UnknownAccountError
from worker.domain.refused_messages import ARGUMENTS_KEPT, LARGEST_BODY, Resolution, reason_of
from worker.services.refused_messages import ReceivedMessage, RefusedMessagesService

pytestmark = pytest.mark.anyio

MESSAGE = ReceivedMessage(
    task="payment_sessions.track",
    task_id="t1",
    body=b'[["secret-argument-1"], {}, {}]',
    envelope='{"args": ["secret-argument-1"], "kwargs": {"reference": 4711222}}',
    session_id="s1",
)
WRONG = reason_of(InvalidArgumentError("session_url", "must be text"))
UNKNOWN = reason_of(UnknownAccountError())
MONTH = timedelta(days=30)


class CountedRefusals:
    """The part of the meter that these tests look at."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str, bool]] = []

    def message_refused(self, task: str, field: str, *, kept: bool) -> None:
        """Count it."""
        self.counted.append((task, field, kept))


class Shop:
    """What taking a message in does: the next of `results`, an error is raised."""

    def __init__(self, *results: bool | Exception) -> None:
        self.results = list(results)
        self.given: list[tuple[str, str, datetime]] = []

    async def take_in(self, task: str, envelope: str, received_at: datetime) -> bool:
        """Note what was given."""
        self.given.append((task, envelope, received_at))
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def messages(engine: AsyncEngine) -> PostgresRefusedMessages:
    return PostgresRefusedMessages(engine)


@pytest.fixture
def meter() -> CountedRefusals:
    return CountedRefusals()


def service(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    *results: bool | Exception,
) -> tuple[RefusedMessagesService, Shop]:
    shop = Shop(*results)
    refused = RefusedMessagesService(
        messages, cipher, shop.take_in, meter=meter, monotonic=clock.monotonic
    )
    return refused, shop


def row(stored: Stored) -> dict[str, object]:
    (only,) = stored.rows(
        "SELECT *, EXTRACT(epoch FROM next_try_at - statement_timestamp())::int AS wait"
        " FROM refused_messages"
    )
    return only


def make_due(stored: Stored, *, received: str = "0 s") -> None:
    stored.rows(
        "UPDATE refused_messages SET next_try_at = now(),"
        " received_at = statement_timestamp() - %s::interval",
        received,
    )


async def test_a_message_delivered_again_is_one_row(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, _ = service(messages, cipher, meter)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(keeper.keep, MESSAGE, WRONG)
    await keeper.keep(replace(MESSAGE, task_id="t2"), WRONG)

    assert stored.value("SELECT count(*) FROM refused_messages") == 2
    assert meter.counted == [("payment_sessions.track", "session_url", True)] * 6


async def test_what_waits_for_a_person_is_not_tried_and_its_arguments_are_encrypted(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, shop = service(messages, cipher, meter)

    await keeper.keep(MESSAGE, WRONG)

    kept = row(stored)
    assert (kept["next_try_at"], kept["session_id"]) == (None, "s1")
    assert (kept["field"], kept["reason"]) == ("session_url", "must be text")
    assert b"secret-argument-1" not in kept["arguments"]
    assert cipher.decrypt(kept["arguments"]) == MESSAGE.envelope
    assert kept["argument_hashes"] == [
        cipher.hashes(each)[0] for each in ("4711222", "reference", "secret-argument-1")
    ]
    await keeper.retry([kept["refused_id"]])
    assert shop.given == []


async def test_what_time_may_heal_is_tried_until_it_is_taken_in(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, shop = service(messages, cipher, meter, UnknownAccountError(), RuntimeError(), True)
    await keeper.keep(MESSAGE, UNKNOWN)
    assert row(stored)["wait"] in {4, 5}
    assert await messages.due(limit=10) == []

    for received, waits in (("40 s", 40), ("2 h", 300)):
        make_due(stored, received=received)
        due = await messages.due(limit=10)
        await keeper.retry(due)
        assert row(stored)["wait"] in {waits - 1, waits}

    tried = row(stored)
    assert (tried["field"], tried["reason"], tried["attempts"]) == ("unforeseen", "RuntimeError", 1)
    make_due(stored)
    await keeper.retry([tried["refused_id"]])
    resolved = row(stored)
    assert (resolved["resolution"], resolved["arguments"]) == (str(Resolution.TAKEN), None)
    assert resolved["argument_hashes"] == []
    assert {given[:2] for given in shop.given} == {(MESSAGE.task, MESSAGE.envelope)}


async def test_what_was_overtaken_is_resolved_as_superseded(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, _ = service(messages, cipher, meter, False)
    await keeper.keep(MESSAGE, UNKNOWN)
    make_due(stored)

    await keeper.retry([row(stored)["refused_id"]])

    assert row(stored)["resolution"] == str(Resolution.SUPERSEDED)


async def test_after_two_days_in_vain_a_message_waits_for_a_person(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, _ = service(messages, cipher, meter, UnknownAccountError())
    await keeper.keep(MESSAGE, UNKNOWN)
    make_due(stored, received="48 h")

    await keeper.retry([row(stored)["refused_id"]])

    waits = row(stored)
    assert (waits["next_try_at"], waits["resolved_at"], waits["attempts"]) == (None, None, 0)
    assert waits["arguments"] is not None


async def test_two_workers_try_a_message_once(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, shop = service(messages, cipher, meter, True, True)
    await keeper.keep(MESSAGE, UNKNOWN)
    make_due(stored)
    due = await messages.due(limit=10)

    async with anyio.create_task_group() as group:
        group.start_soon(keeper.retry, due)
        group.start_soon(keeper.retry, due)

    assert len(shop.given) == 1


async def test_arguments_that_are_too_large_are_not_kept_and_wait_for_a_person(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, _ = service(messages, cipher, meter)

    await keeper.keep(replace(MESSAGE, envelope="x" * (LARGEST_BODY + 1)), UNKNOWN)

    kept = row(stored)
    assert (kept["arguments"], kept["argument_hashes"], kept["next_try_at"]) == (None, [], None)


async def test_a_full_table_takes_no_more_and_says_so(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(repository, "MOST_ROWS", 1)
    keeper, _ = service(messages, cipher, meter)

    for task_id in ("t1", "t2", "t1"):
        await keeper.keep(replace(MESSAGE, task_id=task_id), WRONG)

    assert stored.value("SELECT task_id FROM refused_messages") == "t1"
    assert [kept for _, _, kept in meter.counted] == [True, False, True]


async def test_purge_deletes_arguments_after_three_days_and_rows_at_their_end(
    messages: PostgresRefusedMessages,
    cipher: FernetTokenCipher,
    meter: CountedRefusals,
    stored: Stored,
):
    keeper, _ = service(messages, cipher, meter)
    await keeper.keep(MESSAGE, UNKNOWN)

    assert await messages.purge(older_than=MONTH, limit=100) == 0
    assert row(stored)["arguments"] is not None
    make_due(stored, received=f"{ARGUMENTS_KEPT.total_seconds() + 1} s")
    assert await messages.purge(older_than=MONTH, limit=100) == 0
    kept = row(stored)
    assert (kept["arguments"], kept["argument_hashes"], kept["next_try_at"]) == (None, [], None)
    make_due(stored, received="31 days")
    assert await messages.purge(older_than=MONTH, limit=100) == 1
