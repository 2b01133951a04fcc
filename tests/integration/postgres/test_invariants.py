"""Each invariant's query finds a state that breaks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from worker.adapters.postgres.reports.invariants import (
    NothingToCheckError,
    broken_delivery_invariants,
    broken_state_invariants,
)

EVENT = "99d61c00-8d51-51c8-a72a-a619a578db67"

_SOUND = """
    WITH one AS (
        INSERT INTO payment_sessions (session_id, account, kind, session_url, status, outcome,
            finished_at, next_poll_at, transition_count, event_count, authorization_token,
            authorization_expires_at, last_polled_at)
        VALUES ('s', 'default', 'hpp', 'u', 'COMPLETED', 'completed', now(), NULL, 2, 1, 'x', now(),
            now())
    ), two AS (
        INSERT INTO status_transitions VALUES
            ('s', 1, NULL, 'WAITING', now(), now()), ('s', 2, 'WAITING', 'COMPLETED', now(), now())
    ), three AS (
        INSERT INTO outbox_messages (event_id, session_id, sequence, event_type, payload)
        VALUES ('99d61c00-8d51-51c8-a72a-a619a578db67', 's', 1, 'payment_session.authorized', '{}')
    )
    INSERT INTO outbox_deliveries (event_id, sink, session_id, sequence, delivered_at)
    VALUES ('99d61c00-8d51-51c8-a72a-a619a578db67', 'redis_stream', 's', 1, now())
"""

_WARNED = """
    INSERT INTO outbox_messages (event_id, session_id, sequence, event_type, payload)
    SELECT gen_random_uuid(), 's', {sequence} + count(*) - 1,
        'payment_session.authorization_{type}', '{{}}'
    FROM outbox_messages;
"""

_CONFIRMED = """
    UPDATE payment_sessions SET confirmed_at = now() - interval '1 s', confirmed_order_id = 'o';
"""


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as opened:
        yield opened
    engine.dispose()


@pytest.fixture
def sound(connection: Connection) -> Connection:
    """One completed session that breaks no invariant."""
    connection.execute(text(_SOUND))
    return connection


def test_a_check_of_nothing_is_an_error(connection: Connection):
    with pytest.raises(NothingToCheckError):
        broken_state_invariants(connection)


def test_a_sound_state_breaks_nothing(sound: Connection):
    assert broken_state_invariants(sound) == []
    assert broken_delivery_invariants(sound, [{"subject": "s", "id": EVENT}] * 2) == []


def test_an_empty_completed_that_is_read_again_breaks_nothing(sound: Connection):
    sound.execute(
        text("""UPDATE payment_sessions SET outcome = NULL, finished_at = NULL,
        next_poll_at = now(), last_read_at = now(),
        status_observed_at = now() - interval '4 min'""")
    )

    assert broken_state_invariants(sound) == []


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        ("DELETE FROM status_transitions WHERE sequence = 1", "an unbroken chain"),
        ("UPDATE status_transitions SET from_status = 'BACK' WHERE sequence = 2", "unbroken chain"),
        ("UPDATE payment_sessions SET status = 'WAITING'", "stands where its last transition led"),
        ("UPDATE payment_sessions SET outcome = 'expired'", "is the session's outcome"),
        (
            """UPDATE payment_sessions SET outcome = NULL, finished_at = NULL, next_poll_at = now(),
            status_observed_at = now() - interval '5 min', last_read_at = now()""",
            "is the session's outcome",
        ),
        (
            "INSERT INTO status_transitions VALUES ('s', 3, 'COMPLETED', 'FAILED', now(), now())",
            "no status follows a final one",
        ),
        ("DELETE FROM outbox_messages", "a finished session has its event"),
        (
            "UPDATE outbox_messages SET event_type = 'payment_session.completed'",
            "a session with an authorization announced it",
        ),
        (
            "UPDATE outbox_messages SET event_type = 'payment_session.cancelled'",
            "told the shop of its payment",
        ),
        ("UPDATE payment_sessions SET outcome = 'expired'", "with proof of payment is expired"),
        (
            "UPDATE outbox_messages SET event_type = 'payment_session.order_placed'",
            "an order that is announced has an id",
        ),
        ("UPDATE payment_sessions SET event_count = 2", "numbered without a gap"),
        (_WARNED.format(sequence=0, type="expiring"), "follow its authorization"),
        (_WARNED.format(sequence=2, type="lapsed") * 2, "then one lapse"),
        (_WARNED.format(sequence=2, type="expiring") * 4, "three at most"),
        (
            _WARNED.format(sequence=2, type="lapsed") + _WARNED.format(sequence=3, type="expiring"),
            "follow its authorization, three at most, then one lapse",
        ),
        ("UPDATE payment_sessions SET authorization_lapsed_at = now()", "has its event"),
        (
            _CONFIRMED + _WARNED.format(sequence=2, type="expiring"),
            "no warning follows a confirmed order",
        ),
        ("DELETE FROM outbox_deliveries", "every message has a delivery"),
        (
            """UPDATE outbox_messages SET payload = '{"authorization_token": "t"}'""",
            "no token stands in a payload",
        ),
        (
            """UPDATE payment_sessions SET lease_id = gen_random_uuid(),
            lease_expires_at = now() - interval '2 min'""",
            "no lease outlives its time",
        ),
    ],
)
def test_damage_is_found(sound: Connection, damage: str, promise: str):
    sound.execute(text(damage))

    assert any(promise in line for line in broken_state_invariants(sound))


@pytest.mark.parametrize(
    ("received", "promise"),
    [
        ([], "arrive whole and in order"),
        ([{"subject": "s", "id": "another"}], "arrive whole and in order"),
        (
            [{"subject": "s", "id": EVENT}, {"subject": "other", "id": "unknown"}],
            "nothing arrives that was not recorded",
        ),
    ],
)
def test_what_a_consumer_missed_or_made_up_is_found(
    sound: Connection, received: list[dict[str, str]], promise: str
):
    assert any(promise in line for line in broken_delivery_invariants(sound, received))


def test_what_was_never_delivered_is_found(sound: Connection):
    sound.execute(text("UPDATE outbox_deliveries SET delivered_at = NULL"))

    broken = broken_delivery_invariants(sound, [{"subject": "s", "id": EVENT}])

    assert any("every message is delivered" in line for line in broken)


@pytest.mark.parametrize(
    "why",
    [
        "UPDATE outbox_deliveries SET delivered_at = NULL, dead_at = now()",
        (
            "UPDATE outbox_deliveries SET delivered_at = NULL;"
            "INSERT INTO webhook_endpoints (sink, disabled_at) VALUES ('redis_stream', now())"
        ),
        "UPDATE outbox_deliveries SET sink = 'webhook'",
    ],
)
def test_what_is_dead_or_waits_or_is_not_for_a_sink_is_not_missed_there(
    sound: Connection, why: str
):
    for statement in why.split(";"):
        sound.execute(text(statement))

    assert broken_delivery_invariants(sound, []) == []
