"""Claims and decisions in few words, for tests of what is stored of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from tests.support.builders import LIMITS
from tests.support.stored import ORIGIN
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.errors import ObservationError, TrackError
from worker.domain.session import Kind, Observation
from worker.domain.session_addresses import default_session_url
from worker.domain.tracking import TrackEffect, TrackRequest
from worker.domain.transitions import Decision, decide
from worker.services.sessions import ClaimLimits, LeasedSession, PollTask, SessionUrls

LEASE = timedelta(seconds=30)
CLAIMS = ClaimLimits(lease=LEASE, sessions_in_flight=500, tasks_in_flight=32, sessions_per_task=50)


def claims(**changes: int) -> ClaimLimits:
    """Wide limits, but for these."""
    return replace(CLAIMS, **changes)


def documented_url(account: str, kind: Kind, session_id: str) -> str:
    """Where a session is read that only its id is known of."""
    return default_session_url(f"{ORIGIN}/{account}", kind, session_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedOne:
    """What tracking one session did, and its poll where its lease was taken."""

    effect: TrackEffect
    poll: PollTask | None


async def track(
    sessions: PostgresSessions,
    session_id: str = "s1",
    *,
    session_urls: SessionUrls = documented_url,
    limits: ClaimLimits = CLAIMS,
    **arguments: object,
) -> TrackedOne:
    """Track one session alone; raises what is wrong with it."""
    request = TrackRequest(session_id=session_id, **arguments)
    tracked = await sessions.track([request], session_urls, limits)
    (effect,) = tracked.effects
    if isinstance(effect, TrackError):
        raise effect
    return TrackedOne(effect=effect, poll=next(iter(tracked.polls), None))


async def claimed(
    sessions: PostgresSessions,
    *,
    account: str = "default",
    tasks: int = 16,
    limits: ClaimLimits = CLAIMS,
    **options: object,
) -> list[str]:
    """The ids of what a claim finds."""
    found = await sessions.claim(account, tasks=tasks, limits=limits, **options)
    return [session_id for task in found for session_id in task.session_ids]


async def claim_and_load(
    sessions: PostgresSessions, *, account: str = "default"
) -> dict[str, LeasedSession]:
    """Whatever the account has due, leased and loaded; by session id."""
    limits = claims(sessions_per_task=1000, sessions_in_flight=1000)
    loaded: list[LeasedSession] = []
    for task in await sessions.claim(account, tasks=1, limits=limits):
        loaded += await sessions.load(task.session_ids, task.lease_id, lease=LEASE)
    return {leased.session.session_id: leased for leased in loaded}


def decision_on(leased: LeasedSession, answer: Observation | ObservationError | str) -> Decision:
    """What an answer means for a loaded session; a word alone is a status."""
    return decide(
        leased.session,
        Observation(status=answer) if isinstance(answer, str) else answer,
        account=leased.account,
        now=leased.loaded_at,
        jitter=0.5,
        limits=LIMITS,
    )
