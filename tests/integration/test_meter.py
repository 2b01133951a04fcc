"""What the services tell the meter of, that an ordinary run does not show."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from tests.support.flower import free_port
from tests.support.metrics import Samples, scrape, value
from tests.support.stored import Stored
from tests.support.wired import OpenServices

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
P = "payment_sessions"


async def test_tokens_and_ends_that_somebody_should_look_at(services: OpenServices, stored: Stored):
    """A token that does not decrypt, one that ran out undelivered, a session given up unread."""
    lost = Fernet(Fernet.generate_key()).encrypt(b"lost")
    done = {"outcome": "completed", "finished_at": LONG_AGO, "next_poll_at": None}
    stored.add_session("paid", **done, authorization_token=lost)
    stored.add_message("paid", 1, event_type="payment_session.authorized")
    stored.add_account(paused_for=600, refusals=5)
    stored.add_session("over", tracked_at=LONG_AGO, expires_at=LONG_AGO)
    port = free_port()

    async with services(METRICS_PORT=str(port)) as opened:
        await opened.relay.relay(["paid"])
        await opened.housekeeping.purge()
        seen = scrape(port)

    assert value(seen, f"{P}_token_decrypt_failures_total") == 1
    assert _deliveries(seen) == {"failed": 1, "dead": 0, "delivered": 0}
    assert value(seen, f"{P}_tokens_erased_total", delivered="no") == 1
    assert value(seen, f"{P}_tokens_erased_total", delivered="yes") == 0
    assert value(seen, f"{P}_anomalies_total", kind="gave_up") == 1
    assert value(seen, f"{P}_finished_total", outcome="expired") == 1


async def test_leases_that_another_has_are_counted(services: OpenServices, stored: Stored):
    stored.add_session("s1")
    port = free_port()

    async with services(METRICS_PORT=str(port)) as opened:
        await opened.poll.poll(["s1", "nobody"], uuid4())
        seen = scrape(port)

    assert value(seen, f"{P}_leases_lost_total", stage="load") == 2
    assert value(seen, f"{P}_polls_total") == 0


async def test_a_tick_that_fails_is_no_sign_of_life(services: OpenServices, stored: Stored):
    stored.rows("ALTER TABLE accounts RENAME TO elsewhere")
    port = free_port()

    async with services(METRICS_PORT=str(port)) as opened:
        await opened.dispatch.tick()
        seen = scrape(port)

    assert value(seen, f"{P}_beat_ticks_total", result="failed") == 1
    assert value(seen, f"{P}_beat_last_tick_timestamp_seconds") == 0


async def test_what_is_not_configured_is_one_label(services: OpenServices, stored: Stored):
    """An account or sink that the settings lost makes no series of its own."""
    stored.add_session("s1", account="lost")
    lease = uuid4()
    stored.rows(
        "UPDATE payment_sessions SET lease_id = %s, lease_expires_at = now() + interval '30 s'",
        lease,
    )
    port = free_port()

    async with services(METRICS_PORT=str(port)) as opened:
        await opened.poll.poll(["s1"], lease)
        seen = scrape(port)

    assert value(seen, f"{P}_polls_total", account="other", result="account_refused") == 1
    assert value(seen, f"{P}_polls_total", account="lost") == 0


def _deliveries(seen: Samples) -> dict[str, float]:
    return {
        result: value(seen, f"{P}_deliveries_total", result=result)
        for result in ("failed", "dead", "delivered")
    }
