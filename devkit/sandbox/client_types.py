"""Types of the control API's input and output."""

from collections.abc import Iterable
from typing import Any, Literal, TypedDict

FaultKind = Literal[
    "delay",
    "hold",
    "status",
    "redirect",
    "exact",
    "edit",
    "invalid_json",
    "not_object",
    "no_status",
    "wrong_types",
    "wrong_session_id",
    "empty_body",
    "unknown_status",
    "stale",
    "set_cookie",
    "drip",
    "slow_headers",
    "truncated",
    "oversized",
    "gzip_bomb",
    "big_headers",
    "raw",
    "reset",
    "close",
]


class ScriptFields(TypedDict, total=False):
    """A session's script; `devkit.sandbox.scripts.SessionScript` says what each field is."""

    kind: Literal["hpp", "kp"]
    session_id: str
    account: str
    place_order_mode: Literal["NONE", "PLACE_ORDER", "CAPTURE_ORDER"]
    carries: Literal["token", "order", "both", "neither"]
    expires_in: float
    expires_at: str
    started_ago: float
    updated_at: float | str
    steps: Iterable[Any]
    authorization_token: str
    order_id: str
    klarna_reference: str
    customer: dict[str, Any]
    manual_identification: dict[str, Any]
    after_expiry: Literal["last_status", "not_found"]
    extra: dict[str, Any]
    omit: list[str]
    faults: list[dict[str, Any]]


class ChangeFields(TypedDict, total=False):
    """What a status set by hand may carry; `devkit.sandbox.scripts.StatusChange` says what."""

    updated_at: float | str
    authorization_token: str
    order_id: str
    klarna_reference: str
    carries: Literal["token", "order", "both", "neither"]
    extra: dict[str, Any]
    omit: list[str]
    body: Any
    keep_steps: bool


class FaultFields(TypedDict, total=False):
    """Scope and parameters of a fault; `devkit.sandbox.faults` says which kind has which."""

    session_id: str
    account: str
    methods: list[str]
    skip: int
    times: int
    starts_in: float
    seconds: float
    fresh: bool
    delay_seconds: float
    code: int
    body: str
    retry_after: str
    error_code: str
    location: str
    headers: list[tuple[str, str]]
    set: dict[str, Any]
    omit: list[str]
    status: str
    age_seconds: float
    cookie: str
    interval_seconds: float
    chunk_bytes: int
    declared: bool | Literal["full", "short"]
    size_bytes: int
    text: str


class CreatedSession(TypedDict):
    """A session that the control API created; `response` is what Klarna would return."""

    session_id: str
    session_url: str
    kind: str
    account: str
    expires_at: str
    authorization_token: str
    order_id: str
    klarna_reference: str
    response: dict[str, Any]
