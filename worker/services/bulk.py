"""Tracks lists of payment sessions directly in the database, by the rules of `track`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from worker.domain.errors import TrackError
from worker.domain.track_arguments import TrackArguments, check_arguments
from worker.domain.tracking import TrackEffect, TrackRequest
from worker.services.sessions import SessionUrls
from worker.services.track import documented_urls


class BulkTracking(Protocol):
    """Tracking many payment sessions at a time. Raises UnavailableError."""

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls
    ) -> list[TrackEffect | TrackError]:
        """Insert or correct in one transaction; returns the effect or the error of each.

        A known session without changes is UNCHANGED, and not nudged.
        """


class BulkTrackService:
    """`base_urls` maps each configured account to where its sessions are read.

    `allowed_origins` maps it to where its credentials may go.
    """

    def __init__(
        self,
        sessions: BulkTracking,
        *,
        base_urls: Mapping[str, str],
        allowed_origins: Mapping[str, Collection[str]],
    ) -> None:
        self._sessions = sessions
        self._session_urls = documented_urls(base_urls)
        self._allowed_origins = allowed_origins

    async def track(self, batch: Sequence[TrackArguments]) -> list[TrackEffect | TrackError]:
        """Return the effect or the error of each; an error does not affect the others.

        Tracked sessions without changes stay as they are: the same list can be tracked again.

        Raises:
            UnavailableError: the database is away; nothing of the batch was stored.
        """
        answers = [self._checked(arguments) for arguments in batch]
        requests = [answer for answer in answers if isinstance(answer, TrackRequest)]
        if not requests:
            return [answer for answer in answers if isinstance(answer, TrackError)]
        stored = iter(await self._sessions.track(requests, self._session_urls))
        return [next(stored) if isinstance(a, TrackRequest) else a for a in answers]

    def _checked(self, arguments: TrackArguments) -> TrackRequest | TrackError:
        try:
            return check_arguments(arguments, origins=self._allowed_origins)
        except TrackError as error:
            return error
