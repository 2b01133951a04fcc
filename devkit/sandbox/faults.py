"""The kinds of fault, as data: scope, how often, when, and their parameters."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
StatusBody = Literal["auto", "klarna_json", "html", "abuse", "empty"]


class Fault(BaseModel):
    """Which requests a fault applies to.

    Without `session_id` and `account` it applies to every request to Klarna's endpoints whose
    method is in `methods`. It skips `skip` of them, then applies to `times` (or all). It is active
    `starts_in` seconds from now, for `seconds` (or until cleared), by the mock server's clock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_id: str | None = None
    account: str | None = None
    methods: tuple[Method, ...] = ("GET",)
    skip: int = Field(default=0, ge=0)
    times: int | None = Field(default=None, ge=1)
    starts_in: float = Field(default=0.0, ge=0)
    seconds: float | None = Field(default=None, gt=0)


class Wait(Fault):
    """A wait before the response. `fresh` computes the response after the wait, not before it."""

    fresh: bool = False


class Delay(Wait):
    """The response is sent `delay_seconds` late."""

    kind: Literal["delay"]
    delay_seconds: float = Field(ge=0)


class Hold(Wait):
    """The response is held until the control API releases it."""

    kind: Literal["hold"]


class Replacement(Fault):
    """Replaces the response: the endpoint is not reached, nothing changes."""


class Status(Replacement):
    """An error response; `auto` gives the body recorded for that status code."""

    kind: Literal["status"]
    code: int = Field(ge=400, le=599)
    body: StatusBody = "auto"
    retry_after: str | None = None
    error_code: str | None = None


class Redirect(Replacement):
    """A redirect elsewhere."""

    kind: Literal["redirect"]
    location: str
    code: int = Field(default=302, ge=300, le=399)


class Exact(Replacement):
    """A complete response: `body` as text, `headers` as pairs."""

    kind: Literal["exact"]
    code: int = Field(default=200, ge=200, le=599)
    body: str = ""
    headers: list[tuple[str, str]] = Field(default_factory=list)


class ResponseEdit(Fault):
    """Changes the response of the endpoint."""


class Edit(ResponseEdit):
    """Sets and drops fields of the JSON body, adds headers (repeated names are kept)."""

    kind: Literal["edit"]
    set: dict[str, JsonValue] = Field(default_factory=dict)
    omit: list[str] = Field(default_factory=list)
    headers: list[tuple[str, str]] = Field(default_factory=list)


class Malformed(ResponseEdit):
    """A body that is wrong in one known way."""

    kind: Literal[
        "invalid_json", "not_object", "no_status", "wrong_types", "wrong_session_id", "empty_body"
    ]


class UnknownStatus(ResponseEdit):
    """A status that no document names."""

    kind: Literal["unknown_status"]
    status: str = "UNHEARD_OF"


class Stale(ResponseEdit):
    """An `updated_at` that lies `age_seconds` before the true one, with `status` if given."""

    kind: Literal["stale"]
    age_seconds: float = 3600.0
    status: str | None = None


class SetCookie(ResponseEdit):
    """A cookie the reader must not send back."""

    kind: Literal["set_cookie"]
    cookie: str = "sandbox_cookie=canary; Path=/"


class Delivery(Fault):
    """Changes how the response is sent."""


class Drip(Delivery):
    """`chunk_bytes` of the body every `interval_seconds`; of the head too if `slow_headers`."""

    kind: Literal["drip", "slow_headers"]
    interval_seconds: float = Field(default=1.0, ge=0)
    chunk_bytes: int = Field(default=1, ge=1)


class Truncated(Delivery):
    """Half a body. Its length is declared `full` (then the connection closes) or `short`."""

    kind: Literal["truncated"]
    declared: Literal["full", "short"] = "full"


class Oversized(Delivery):
    """The correct JSON, padded with blanks to `size_bytes`; chunked unless `declared`."""

    kind: Literal["oversized"]
    size_bytes: int = Field(default=300 * 1024, ge=1)
    declared: bool = True


class GzipBomb(Delivery):
    """The correct JSON, padded with blanks to `size_bytes` and gzipped, whatever was accepted."""

    kind: Literal["gzip_bomb"]
    size_bytes: int = Field(default=64 * 1024 * 1024, ge=1)


class BigHeaders(Delivery):
    """A correct response with one header of `size_bytes`."""

    kind: Literal["big_headers"]
    size_bytes: int = Field(default=64 * 1024, ge=1)


class Raw(Delivery):
    """These characters (latin-1) as bytes on the socket instead of a response, then a close."""

    kind: Literal["raw"]
    text: str


class Disconnect(Delivery):
    """The connection ends before a response: `reset` with a TCP RST, `close` in order."""

    kind: Literal["reset", "close"]


AnyFault = Annotated[
    Delay
    | Hold
    | Status
    | Redirect
    | Exact
    | Edit
    | Malformed
    | UnknownStatus
    | Stale
    | SetCookie
    | Drip
    | Truncated
    | Oversized
    | GzipBomb
    | BigHeaders
    | Raw
    | Disconnect,
    Field(discriminator="kind"),
]
