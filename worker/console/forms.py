"""Pages whose buttons change something, and the forms that come back from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol
from urllib.parse import parse_qs
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from worker.console.security import Csrf

LONGEST_FORM: Final = 4096

# The button does not replay an authorized event whose token is deleted.
Replayed = Literal["sent", "nothing", "without_token"]


class Actions(Protocol):
    """What the buttons do."""

    def replay(self, event_id: UUID, sink: str) -> Replayed:
        """Make the dead-lettered delivery of an event to a sink due again."""

    def retry(self, refused_id: int) -> bool:
        """Make a refused message due; returns False if it can be tried no more."""


class Forms:
    """Templates get `may_replay`, and `csrf` for their forms; without `actions` there are none."""

    def __init__(self, templates: Jinja2Templates, actions: Actions | None) -> None:
        self._templates = templates
        self._actions = actions
        self._csrf = Csrf()

    def page(self, request: Request, template: str, context: Mapping[str, object]) -> Response:
        """Return a page with forms; where they are not enabled it sets no cookie."""
        holder = Response()
        enabled = self._actions is not None
        csrf = self._csrf.token(request, holder) if enabled else ""
        page = self._templates.TemplateResponse(
            request, template, {**context, "may_replay": enabled, "csrf": csrf}
        )
        page.raw_headers.extend(h for h in holder.raw_headers if h[0] == b"set-cookie")
        return page

    async def received(self, request: Request) -> tuple[dict[str, str], Actions]:
        """Return the fields of a form, and what it may do.

        Raises:
            HTTPException: forms are not enabled, or it is not a form of these pages.
        """
        if self._actions is None:
            raise HTTPException(403, "Replay is disabled: CONSOLE_REPLAY=true enables it.")
        form = await _form(request)
        if not self._csrf.is_ours(request, form.get("csrf", "")):
            raise HTTPException(
                403, "This form has expired or comes from elsewhere: reload the page."
            )
        return form, self._actions


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
