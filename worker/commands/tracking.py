"""track and nudge: what a shop enqueues, by hand."""

from __future__ import annotations

from datetime import datetime

from kombu.exceptions import OperationalError

from config.settings import Settings, load
from worker.adapters.postgres.reports.sessions import Reports
from worker.celery import app
from worker.commands.output import WRONG_USAGE, fail, print_json, say
from worker.commands.reading import reports
from worker.contract.tasks import Track
from worker.domain.errors import InvalidArgumentError
from worker.domain.track_arguments import TrackArguments, check_arguments
from worker.domain.tracking import TRACK_ARGUMENTS, TrackRequest


def track(arguments: TrackArguments, *, as_json: bool) -> None:
    """Check the arguments, then enqueue them as a shop would."""
    settings = load(Settings)
    try:
        request = check_arguments(
            arguments,
            accounts=settings.accounts,
            allowed_origins=settings.klarna_allowed_origins,
        )
    except InvalidArgumentError as error:
        fail(str(error), code=WRONG_USAGE)
    _send(_as_sent(request))
    _confirm(request.session_id, as_json=as_json)


def nudge(session_id: str, *, as_json: bool) -> None:
    """Have a followed payment session polled now."""
    with reports(Reports) as opened:
        known = opened.session(session_id)
    if known is None:
        fail(f"{session_id} is not followed; `session-worker track {session_id}` starts it.")
    _send({"session_id": session_id})
    _confirm(session_id, as_json=as_json)


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
        fail("REDIS_URL: the broker cannot be reached; see `session-worker check`.")


def _confirm(session_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"session_id": session_id, "enqueued": True})
        return
    say(f"Enqueued {session_id}. `session-worker show {session_id}` tells how it goes.")
