"""Tracks lists of payment sessions: by the task's rules, straight into the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from worker.domain.errors import TrackError
from worker.domain.track_arguments import TrackArguments, check_arguments
from worker.domain.tracking import TrackEffect, TrackRequest
from worker.services.ports import BulkTracking
from worker.services.track import documented_urls


class BulkTrackService:
    """`base_urls` maps each configured account to where its sessions are read."""

    def __init__(
        self,
        sessions: BulkTracking,
        *,
        base_urls: Mapping[str, str],
        allowed_origins: Collection[str],
    ) -> None:
        self._sessions = sessions
        self._accounts = frozenset(base_urls)
        self._session_urls = documented_urls(base_urls)
        self._allowed_origins = allowed_origins

    async def track(self, batch: Sequence[TrackArguments]) -> list[TrackEffect | TrackError]:
        """Return for each what became of it; what is at fault keeps no other from being stored.

        Sessions that are followed already, and of which nothing new is said, are left alone: the
        same list again does no harm.

        Raises:
            UnavailableError: the database is away; nothing of this batch was stored.
        """
        answers = [self._checked(arguments) for arguments in batch]
        requests = [answer for answer in answers if isinstance(answer, TrackRequest)]
        if not requests:
            return [answer for answer in answers if isinstance(answer, TrackError)]
        stored = iter(await self._sessions.track(requests, self._session_urls))
        return [next(stored) if isinstance(a, TrackRequest) else a for a in answers]

    def _checked(self, arguments: TrackArguments) -> TrackRequest | TrackError:
        try:
            return check_arguments(
                arguments, accounts=self._accounts, allowed_origins=self._allowed_origins
            )
        except TrackError as error:
            return error
