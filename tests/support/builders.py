"""Payment sessions, observations and decisions to test with; each test names what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from worker.domain.account import AccountState
from worker.domain.errors import ObservationError
from worker.domain.policy import PollPolicy
from worker.domain.schedule import PollLimits
from worker.domain.session import Kind, Observation, PaymentSession
from worker.domain.transitions import Decision, decide

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SESSION_ID = "39a1c773-bafd-754d-af1f-b30c592f1267"
SESSION_URL = f"https://api.klarna.com/hpp/v1/sessions/{SESSION_ID}"
KP_SESSION_URL = f"https://api.klarna.com/payments/v1/sessions/{SESSION_ID}"
# Found anywhere it does not belong, it proves a leak.
CANARY_TOKEN = "canary-a1a8f727-2756-6058-bd3c-40069be0994b"

HEALTHY = AccountState()
# Every 2 s in the first minute; in the first hour every 60 s, 48 s or 90 s; then every 6, 4, 9 min.
POLICY = PollPolicy(
    name="of-the-tests",
    ages=(0, 60, 3600),
    hazards={
        "WAITING": (1, 60**-2, 360**-2),
        "IN_PROGRESS": (1, 48**-2, 240**-2),
        "*": (1, 90**-2, 540**-2),
    },
    calibration=((0.5, 25), (1, 50), (2, 100)),
)
LIMITS = PollLimits(policy=POLICY)


def ago(**duration: float) -> datetime:
    """Return the moment that long before NOW."""
    return NOW - timedelta(**duration)


def ahead(**duration: float) -> datetime:
    """Return the moment that long after NOW."""
    return NOW + timedelta(**duration)


def a_session(**overrides: object) -> PaymentSession:
    """Return a session tracked an hour ago, never read, that ends in a day."""
    session = PaymentSession(
        session_id=SESSION_ID,
        account="default",
        kind=Kind.HPP,
        session_url=SESSION_URL,
        tracked_at=ago(hours=1),
        expires_at=ahead(hours=24),
        next_poll_at=NOW,
    )
    return replace(session, **overrides)


def a_read_session(status: str = "WAITING", **overrides: object) -> PaymentSession:
    """Return a session whose status is ten minutes old, seen five minutes ago."""
    read = {
        "status": status,
        "status_updated_at": ago(minutes=10),
        "status_observed_at": ago(minutes=5),
        "last_read_at": ago(minutes=1),
        "last_polled_at": ago(minutes=1),
        "poll_count": 3,
        "transition_count": 1,
    }
    return a_session(**(read | overrides))


def a_long_unread_session(**overrides: object) -> PaymentSession:
    """Return a session tracked long ago whose reads have failed for days."""
    unread = {"tracked_at": ago(days=11), "failing_since": ago(days=9)}
    return a_read_session(**(unread | overrides))


def a_kp_session(**overrides: object) -> PaymentSession:
    """Return a KP session, never read; KP answers have no `updated_at`."""
    return a_session(**({"kind": Kind.KP, "session_url": KP_SESSION_URL} | overrides))


def an_observation(status: str = "WAITING", **overrides: object) -> Observation:
    """Return a healthy read whose status began a minute ago."""
    return replace(
        Observation(status=status, updated_at=ago(minutes=1), expires_at=ahead(hours=24)),
        **overrides,
    )


def decided(
    session: PaymentSession,
    answer: Observation | ObservationError,
    *,
    account: AccountState = HEALTHY,
    now: datetime = NOW,
    jitter: float = 0.5,
    limits: PollLimits = LIMITS,
) -> Decision:
    """Return `decide`'s decision, at NOW, with the middle jitter, unless said."""
    return decide(session, answer, account=account, now=now, jitter=jitter, limits=limits)
