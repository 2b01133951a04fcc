"""The pages: what each reads from the database, and its template."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

import structlog
from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from worker.adapters.postgres.reports.console import ConsoleReports, Place
from worker.adapters.postgres.reports.refused import RefusedFilter
from worker.console.accounts import standing
from worker.console.forms import Actions, Forms
from worker.console.overview import Overview
from worker.console.paging import PAGE_ROWS, next_query_of, place_of, text_of
from worker.console.timeline import delivery_state, draw, status_class, waits_for
from worker.console.wording import FILTERS, looks_like_klarna_id
from worker.domain.session import Outcome

log = structlog.get_logger(__name__)

FOUND_ROWS: Final = 100
STATES: Final = ("open", "finished", *map(str, Outcome))
# One drawing for a screen and one for a phone; the style sheet shows the one that fits.
WIDTHS: Final = {"wide": 1100.0, "narrow": 340.0}

# An id that the table's type holds.
_IS_ID: Final = re.compile("[0-9]{1,18}", re.ASCII)


class Pages:
    """Endpoints. Those that read the database block; Starlette runs them in threads."""

    def __init__(
        self,
        reports: ConsoleReports,
        *,
        actions: Actions | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._reports = reports
        self._overview = Overview(reports, monotonic=monotonic)
        self._templates = Jinja2Templates(env=_templates())
        self._forms = Forms(self._templates, actions)

    def overview(self, request: Request) -> Response:
        """Show whether anything is paid without an order, and whether the worker keeps up."""
        return self._page(request, "overview.html", **self._overview.figures())

    def sessions(self, request: Request) -> Response:
        """List sessions by state, or the results of a search."""
        asked = request.query_params
        sought = text_of(asked, "q")
        if sought:
            rows = self._reports.found(sought, limit=FOUND_ROWS)
            if len(rows) == 1:
                found = quote(rows[0]["session_id"], safe="")
                return RedirectResponse(f"/sessions/{found}", status_code=303)
            return self._list(request, rows, state=None, sought=sought, next_query=None)
        state = text_of(asked, "state") or "open"
        if state not in STATES:
            raise HTTPException(400, f"state: must be one of {', '.join(STATES)}")
        rows = self._state_page(state, text_of(asked, "account"), place_of(asked))
        next_query = next_query_of(asked, rows, id_column="session_id")
        return self._list(request, rows[:PAGE_ROWS], state=state, sought="", next_query=next_query)

    def session(self, request: Request) -> Response:
        """Show one payment session with its history."""
        session_id = request.path_params["session_id"].replace("\0", "")
        session = self._reports.session(session_id)
        if session is None:
            raise HTTPException(404, f"{session_id} is not tracked.")
        drawings = [draw(session, width=width, css=css) for css, width in WIDTHS.items()]
        return self._page(
            request,
            "session.html",
            session=session,
            drawings=drawings,
            waits_for=waits_for(session["deliveries"]),
            unavailable=self._reports.unavailable_sinks(),
        )

    def dead(self, request: Request) -> Response:
        """List dead-lettered deliveries, each with a replay button if CONSOLE_REPLAY is set."""
        rows = self._reports.dead_page(after=place_of(request.query_params), limit=PAGE_ROWS + 1)
        next_query = next_query_of(request.query_params, rows, id_column="event_id")
        context = {
            "rows": rows[:PAGE_ROWS],
            "next_query": next_query,
            "unavailable": self._reports.unavailable_sinks().values(),
            "replayed": text_of(request.query_params, "replayed"),
            "event_id": text_of(request.query_params, "event_id"),
        }
        return self._forms.page(request, "dead.html", context)

    async def replay(self, request: Request) -> Response:
        """Make one dead-lettered delivery due again."""
        form, actions = await self._forms.received(request)
        try:
            event_id = UUID(form.get("event_id", ""))
        except ValueError:
            raise HTTPException(400, "event_id: must be an event id") from None
        sink = form.get("sink", "")
        done = await to_thread.run_sync(actions.replay, event_id, sink)
        who = request.user.display_name
        log.info("replay_requested", event_id=str(event_id), sink=sink, result=done, user=who)
        said = urlencode({"replayed": done, "event_id": str(event_id)})
        return RedirectResponse(f"/deliveries/dead?{said}", status_code=303)

    def refused(self, request: Request) -> Response:
        """List messages that were not taken in, without arguments: the console has no key."""
        rows = self._reports.refused(
            RefusedFilter(), limit=PAGE_ROWS + 1, after=place_of(request.query_params)
        )
        context = {
            "rows": rows[:PAGE_ROWS],
            "next_query": next_query_of(request.query_params, rows, id_column="refused_id"),
            "unmatched": self._reports.unmatched_confirmations(limit=PAGE_ROWS),
            "retried": text_of(request.query_params, "retried"),
            "refused_id": text_of(request.query_params, "refused_id"),
        }
        return self._forms.page(request, "refused.html", context)

    async def retry(self, request: Request) -> Response:
        """Make one refused message due; a worker tries it."""
        form, actions = await self._forms.received(request)
        given = form.get("refused_id", "")
        if not _IS_ID.fullmatch(given):
            raise HTTPException(400, "refused_id: must be the id of a refused message")
        done = await to_thread.run_sync(actions.retry, int(given))
        who = request.user.display_name
        log.info("retry_requested", refused_id=int(given), due=done, user=who)
        said = urlencode({"retried": "due" if done else "nothing", "refused_id": given})
        return RedirectResponse(f"/refused?{said}", status_code=303)

    def healthcheck(self, _: Request) -> Response:
        """Respond without reading the database."""
        return PlainTextResponse("ok\n")

    def fault(self, request: Request, *, code: int, text: str) -> Response:
        """Return an error page."""
        page = self._page(request, "fault.html", code=code, text=text)
        page.status_code = code
        return page

    def _state_page(self, state: str, account: str | None, after: Place | None) -> list[Any]:
        if state == "open":
            return self._reports.open_page(account=account, after=after, limit=PAGE_ROWS + 1)
        outcome = None if state == "finished" else state
        return self._reports.finished_page(
            outcome=outcome, account=account, after=after, limit=PAGE_ROWS + 1
        )

    def _list(self, request: Request, rows: list[Any], **context: object) -> Response:
        account = text_of(request.query_params, "account")
        return self._page(
            request, "sessions.html", rows=rows, states=STATES, account=account, **context
        )

    def _page(self, request: Request, template: str, **context: object) -> Response:
        return self._templates.TemplateResponse(request, template, context)


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("worker.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["klarna_id"] = looks_like_klarna_id
    environment.filters |= FILTERS | {
        "standing": standing,
        "status_class": status_class,
        "delivery_state": delivery_state,
    }
    return environment
