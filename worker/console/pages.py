"""The pages: what each reads from the database, and its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qs, quote, urlencode
from uuid import UUID

import structlog
from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from worker.adapters.postgres.reports.console import ConsoleReports, Place
from worker.console.accounts import standing
from worker.console.overview import Overview
from worker.console.security import Csrf
from worker.console.timeline import delivery_state, draw, status_class, waits_for
from worker.console.wording import FILTERS
from worker.domain.session import Outcome

log = structlog.get_logger(__name__)

PAGE_ROWS: Final = 50
FOUND_ROWS: Final = 100
STATES: Final = ("open", "finished", *map(str, Outcome))
# One drawing for a screen and one for a phone; the style sheet shows the one that fits.
WIDTHS: Final = {"wide": 1100.0, "narrow": 340.0}
LONGEST_FORM: Final = 4096

# The button does not replay an authorized event whose token is deleted.
Replayed = Literal["sent", "nothing", "without_token"]
# Makes the dead-lettered delivery of an event to a sink due again.
Replay = Callable[[UUID, str], Replayed]


class Pages:
    """Endpoints. Those that read the database block; Starlette runs them in threads."""

    def __init__(
        self,
        reports: ConsoleReports,
        *,
        replay: Replay | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._reports = reports
        self._replay = replay
        self._overview = Overview(reports, monotonic=monotonic)
        self._csrf = Csrf()
        self._templates = Jinja2Templates(env=_templates())

    def overview(self, request: Request) -> Response:
        """Show whether anything is paid without an order, and whether the worker keeps up."""
        return self._page(request, "overview.html", **self._overview.figures())

    def sessions(self, request: Request) -> Response:
        """List sessions by state, or the results of a search."""
        asked = request.query_params
        sought = _text(asked, "q")
        if sought:
            rows = self._reports.found(sought, limit=FOUND_ROWS)
            if len(rows) == 1:
                found = quote(rows[0]["session_id"], safe="")
                return RedirectResponse(f"/sessions/{found}", status_code=303)
            return self._list(request, rows, state=None, sought=sought, next_query=None)
        state = _text(asked, "state") or "open"
        if state not in STATES:
            raise HTTPException(400, f"state: must be one of {', '.join(STATES)}")
        rows = self._state_page(state, _text(asked, "account"), _place(asked))
        next_query = _next_query(asked, rows, id_column="session_id")
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
        rows = self._reports.dead_page(after=_place(request.query_params), limit=PAGE_ROWS + 1)
        next_query = _next_query(request.query_params, rows, id_column="event_id")
        context = {
            "rows": rows[:PAGE_ROWS],
            "next_query": next_query,
            "unavailable": self._reports.unavailable_sinks().values(),
            "may_replay": self._replay is not None,
            "replayed": _text(request.query_params, "replayed"),
            "event_id": _text(request.query_params, "event_id"),
        }
        if self._replay is None:
            return self._page(request, "dead.html", csrf="", **context)
        holder = Response()
        token = self._csrf.token(request, holder)
        page = self._page(request, "dead.html", csrf=token, **context)
        page.raw_headers.extend(h for h in holder.raw_headers if h[0] == b"set-cookie")
        return page

    async def replay(self, request: Request) -> Response:
        """Make one dead-lettered delivery due again."""
        if self._replay is None:
            raise HTTPException(403, "Replay is disabled: CONSOLE_REPLAY=true enables it.")
        form = await _form(request)
        if not self._csrf.is_ours(request, form.get("csrf", "")):
            raise HTTPException(
                403, "This form has expired or comes from elsewhere: reload the page."
            )
        try:
            event_id = UUID(form.get("event_id", ""))
        except ValueError:
            raise HTTPException(400, "event_id: must be an event id") from None
        sink = form.get("sink", "")
        done = await to_thread.run_sync(self._replay, event_id, sink)
        who = request.user.display_name
        log.info("replay_requested", event_id=str(event_id), sink=sink, result=done, user=who)
        said = urlencode({"replayed": done, "event_id": str(event_id)})
        return RedirectResponse(f"/deliveries/dead?{said}", status_code=303)

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
        account = _text(request.query_params, "account")
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
    environment.filters |= FILTERS | {
        "standing": standing,
        "status_class": status_class,
        "delivery_state": delivery_state,
    }
    return environment


def _text(parameters: Mapping[str, str], name: str) -> str | None:
    """Return a parameter's text without NUL, which Postgres refuses."""
    return parameters.get(name, "").strip().replace("\0", "") or None


def _place(parameters: Mapping[str, str]) -> Place | None:
    """Return where the page begins: time and id of the last row on the previous page."""
    given = _text(parameters, "after")
    if given is None:
        return None
    moment, _, identifier = given.partition("~")
    try:
        return datetime.fromisoformat(moment), identifier
    except ValueError:
        raise HTTPException(400, "after: must be taken from a link of the page") from None


def _next_query(parameters: Mapping[str, str], rows: list[Any], *, id_column: str) -> str | None:
    """Return the next page's query if there are more rows than are shown."""
    if len(rows) <= PAGE_ROWS:
        return None
    last = rows[PAGE_ROWS - 1]
    kept = {name: value for name, value in parameters.items() if name in {"state", "account"}}
    return urlencode(kept | {"after": f"{last['position'].isoformat()}~{last[id_column]}"})


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, "The form is too long.")
    try:
        fields = parse_qs(body.decode(), max_num_fields=10)
    except ValueError:
        raise HTTPException(400, "The form is invalid.") from None
    return {name: values[0] for name, values in fields.items()}
