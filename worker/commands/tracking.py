"""track and nudge: enqueue a `track` message by hand."""

from __future__ import annotations

from datetime import datetime

from kombu.exceptions import OperationalError

from config.settings import Settings, load
from worker.adapters.postgres.reports.sessions import Reports
from worker.celery import app
from worker.commands.output import WRONG_USAGE, fail, print_json, say
from worker.commands.reading import not_tracked, reports
from worker.contract.tasks import Track
from worker.domain.errors import InvalidArgumentError
from worker.domain.track_arguments import TrackArguments, check_arguments
from worker.domain.tracking import TRACK_ARGUMENTS, TrackRequest


def track(arguments: TrackArguments, *, as_json: bool) -> None:
    """Check the arguments and enqueue them, as a shop does."""
    settings = load(Settings)
    try:
        request = check_arguments(arguments, origins=settings.account_origins)
    except InvalidArgumentError as error:
        fail(str(error), code=WRONG_USAGE)
    _send(_as_sent(request))
    _report(request.session_id, as_json=as_json)


def nudge(session_id: str, *, as_json: bool) -> None:
    """Have a tracked payment session polled now."""
    with reports(Reports) as opened:
        known = opened.session(session_id)
    if known is None:
        fail(not_tracked(session_id))
    _send({"session_id": session_id})
    _report(session_id, as_json=as_json)


def _as_sent(request: TrackRequest) -> dict[str, str]:
    values = {name: getattr(request, name) for name in TRACK_ARGUMENTS}
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _send(arguments: dict[str, str]) -> None:
    try:
        app.send_task(Track.task, kwargs=arguments)
    except OperationalError:
        fail("REDIS_URL: the broker cannot be reached; run `session-worker check`.")


def _report(session_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"session_id": session_id, "enqueued": True})
        return
    say(f"Enqueued {session_id}. See `session-worker show {session_id}`.")
