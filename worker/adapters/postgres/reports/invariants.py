"""Invariants of the stored state, as queries that must return nothing.

The demo and the tests check them. They are cheap enough for a live database, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from sqlalchemy import Connection, text

from worker.adapters.postgres.literals import interval, literal, one_of
from worker.domain.confirmation import WARNINGS
from worker.domain.endings import EMPTY_COMPLETED_WINDOW
from worker.domain.events import EventType
from worker.domain.session import HPP_COMPLETED, HPP_FINAL, Kind, Outcome

_CONSTANTS = {
    "hpp": literal(Kind.HPP),
    "final_statuses": one_of(HPP_FINAL),
    "completed_status": literal(HPP_COMPLETED),
    "empty_window": interval(EMPTY_COMPLETED_WINDOW),
    "completed": literal(Outcome.COMPLETED),
    "expired": literal(Outcome.EXPIRED),
    "authorized": literal(EventType.AUTHORIZED),
    "completed_event": literal(EventType.COMPLETED),
    "order_placed": literal(EventType.ORDER_PLACED),
    "expiring": literal(EventType.AUTHORIZATION_EXPIRING),
    "lapsed": literal(EventType.AUTHORIZATION_LAPSED),
    "warnings": len(WARNINGS),
    # The holder of a lease may be recording for a minute after its end.
    "lease_overdue": interval(timedelta(seconds=60)),
    "working": interval(timedelta(seconds=10)),
}
_QUERIES = {
    "a session's transitions form an unbroken chain from null": """
        SELECT session_id FROM (
            SELECT session_id, sequence, from_status,
                row_number() OVER w AS place, lag(to_status) OVER w AS previous
            FROM status_transitions
            WINDOW w AS (PARTITION BY session_id ORDER BY sequence)
        ) AS chain
        WHERE sequence <> place OR from_status IS DISTINCT FROM previous
    """,
    "a session stands where its last transition led": """
        SELECT s.session_id
        FROM payment_sessions AS s
        LEFT JOIN LATERAL (
            SELECT to_status, sequence FROM status_transitions AS t
            WHERE t.session_id = s.session_id ORDER BY sequence DESC LIMIT 1
        ) AS last ON true
        WHERE s.status IS DISTINCT FROM last.to_status
            OR s.transition_count <> COALESCE(last.sequence, 0)
    """,
    "a final status of Klarna's is the session's outcome": """
        SELECT session_id FROM payment_sessions
        WHERE kind = {hpp} AND status IN {final_statuses}
            AND outcome IS DISTINCT FROM lower(status)
            AND NOT (
                status = {completed_status} AND outcome IS NULL
                AND last_read_at < status_observed_at + {empty_window}
            )
    """,
    "no status follows a final one": """
        SELECT t.session_id FROM status_transitions AS t
        JOIN payment_sessions AS s USING (session_id)
        WHERE s.kind = {hpp} AND t.from_status IN {final_statuses}
    """,
    "a finished session has its event": """
        SELECT s.session_id FROM payment_sessions AS s
        WHERE s.outcome IS NOT NULL
            AND NOT EXISTS (SELECT FROM outbox_messages AS m WHERE m.session_id = s.session_id)
    """,
    "a session with an authorization announced it": """
        SELECT s.session_id FROM payment_sessions AS s
        WHERE s.authorization_expires_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM outbox_messages AS m
            WHERE m.session_id = s.session_id AND m.event_type = {authorized}
        )
    """,
    "a completed session that holds a token told the shop of its payment": """
        SELECT s.session_id FROM payment_sessions AS s
        WHERE s.authorization_token IS NOT NULL AND s.outcome = {completed} AND NOT EXISTS (
            SELECT FROM outbox_messages AS m
            WHERE m.session_id = s.session_id
                AND m.event_type IN ({authorized}, {completed_event})
        )
    """,
    "no session with proof of payment is expired": """
        SELECT session_id FROM payment_sessions
        WHERE outcome = {expired} AND (authorization_token IS NOT NULL OR order_id IS NOT NULL)
    """,
    "an order that is announced has an id": """
        SELECT s.session_id FROM payment_sessions AS s
        JOIN outbox_messages AS m USING (session_id)
        WHERE m.event_type = {order_placed} AND s.order_id IS NULL
    """,
    "a session's events are numbered without a gap": """
        SELECT s.session_id FROM payment_sessions AS s
        LEFT JOIN outbox_messages AS m USING (session_id)
        GROUP BY s.session_id, s.event_count
        HAVING count(m.event_id) <> s.event_count
            OR COALESCE(max(m.sequence), 0) <> s.event_count
    """,
    "warnings of a missing order follow its authorization, three at most, then one lapse": """
        SELECT warned.session_id FROM (
            SELECT session_id, min(sequence) AS first, max(sequence) AS last,
                count(*) FILTER (WHERE event_type = {expiring}) AS warnings,
                count(*) FILTER (WHERE event_type = {lapsed}) AS lapses,
                max(sequence) FILTER (WHERE event_type = {lapsed}) AS lapse
            FROM outbox_messages
            WHERE event_type IN ({expiring}, {lapsed})
            GROUP BY session_id
        ) AS warned
        LEFT JOIN outbox_messages AS m ON m.session_id = warned.session_id
            AND m.event_type = {authorized} AND m.sequence < warned.first
        WHERE m.session_id IS NULL OR warnings > {warnings} OR lapses > 1 OR lapse < last
    """,
    "a lapsed authorization has its event": """
        SELECT s.session_id FROM payment_sessions AS s
        WHERE s.authorization_lapsed_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM outbox_messages AS m
            WHERE m.session_id = s.session_id
                AND m.event_type = {lapsed}
        )
    """,
    "no warning follows a confirmed order": """
        SELECT session_id FROM payment_sessions
        JOIN outbox_messages USING (session_id)
        WHERE created_at > confirmed_at AND event_type IN ({expiring}, {lapsed})
    """,
    "every message has a delivery": """
        SELECT m.session_id FROM outbox_messages AS m
        WHERE NOT EXISTS (SELECT FROM outbox_deliveries AS d WHERE d.event_id = m.event_id)
    """,
    "no token stands in a payload": """
        SELECT session_id FROM outbox_messages WHERE payload::text LIKE '%authorization_token%'
    """,
    "no lease outlives its time": """
        SELECT session_id FROM payment_sessions
        WHERE lease_expires_at < clock_timestamp() - {lease_overdue}
            AND EXISTS (
                SELECT FROM payment_sessions AS other
                WHERE other.last_polled_at > clock_timestamp() - {working}
            )
    """,
    "no unfinished session lacks its next poll": """
        SELECT session_id FROM payment_sessions WHERE outcome IS NULL AND next_poll_at IS NULL
    """,
}

# Without dead deliveries, and pending ones of a disabled sink.
_EXPECTED = """
    FROM outbox_messages AS m
    JOIN outbox_deliveries AS d USING (event_id)
    WHERE d.sink = :sink AND d.dead_at IS NULL AND NOT EXISTS (
        SELECT FROM webhook_endpoints AS e
        WHERE e.sink = d.sink AND e.disabled_at IS NOT NULL AND d.delivered_at IS NULL
    )
"""
_UNDELIVERED = text(f"SELECT m.session_id {_EXPECTED} AND d.delivered_at IS NULL")
_MESSAGES = text(f"SELECT event_id, m.session_id {_EXPECTED} ORDER BY m.sequence")
_RECORDED = text("SELECT event_id FROM outbox_messages")
_SESSIONS = text("SELECT count(*) FROM payment_sessions")


class NothingToCheckError(Exception):
    """The database holds no payment session, so a check would prove nothing."""


def broken_state_invariants(connection: Connection) -> list[str]:
    """Return one line per broken invariant, with the sessions that break it.

    Raises:
        NothingToCheckError: no payment session is stored.
    """
    if not connection.execute(_SESSIONS).scalar_one():
        raise NothingToCheckError("no payment session is stored")
    broken = []
    for promise, query in _QUERIES.items():
        offenders = connection.execute(text(query.format(**_CONSTANTS))).scalars().all()
        if offenders:
            broken.append(f"{promise}: broken by {_some(offenders)}")
    return broken


def broken_delivery_invariants(
    connection: Connection, received: Iterable[Mapping[str, str]], *, sink: str = "redis_stream"
) -> list[str]:
    """Return one line per broken invariant about the events that a sink's consumer has received.

    `received` are CloudEvents in the order of their arrival, repeats included; all deliveries must
    be over. No dead delivery may have been replayed: it arrives after its session's later events.
    """
    broken = []
    undelivered = connection.execute(_UNDELIVERED, {"sink": sink}).scalars().all()
    if undelivered:
        broken.append(f"every message is delivered: not to {_some(undelivered)}")
    expected: dict[str, list[str]] = {}
    for row in connection.execute(_MESSAGES, {"sink": sink}):
        expected.setdefault(row.session_id, []).append(str(row.event_id))
    arrived = list(dict.fromkeys(event["id"] for event in received))
    place = {event_id: number for number, event_id in enumerate(arrived)}
    for session_id, ids in expected.items():
        places = [place.get(event_id, -1) for event_id in ids]
        if -1 in places or places != sorted(places):
            broken.append(f"a session's events arrive whole and in order: not for {session_id}")
    recorded = {str(event_id) for event_id in connection.execute(_RECORDED).scalars()}
    unknown = place.keys() - recorded
    if unknown:
        broken.append(f"nothing arrives that was not recorded: {_some(sorted(unknown))}")
    return broken


def _some(session_ids: Iterable[str]) -> str:
    ids = list(session_ids)
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""  # noqa: PLR2004 - enough to look at
    return ", ".join(ids[:3]) + more
