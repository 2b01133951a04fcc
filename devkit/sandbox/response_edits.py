"""What replaces an answer and what changes one; pure."""

import json
from typing import Any

from devkit.sandbox.answers import (
    Answer,
    Header,
    abuse_page,
    html_page,
    json_bytes,
    klarna_error,
    rate_limited,
)
from devkit.sandbox.faults import (
    Edit,
    Exact,
    Malformed,
    Redirect,
    Replacement,
    Rewrite,
    SetCookie,
    Stale,
    Status,
    StatusBody,
    UnknownStatus,
)
from devkit.sandbox.timestamps import epoch_seconds, klarna_timestamp

_ANOTHER_ID = "00000000-0000-4000-8000-000000000000"
_WRONG_TYPES = {
    "session_id": 12,
    "status": ["COMPLETED"],
    "updated_at": {"at": 0},
    "expires_at": 1.5,
    "authorization_token": {"token": 1},
}
_BODY_BY_CODE: dict[int, StatusBody] = {401: "html", 429: "empty"}


def replacement(fault: Replacement, correlation_id: str) -> Answer:
    """Return the answer that comes instead.

    Raises:
        TypeError: The fault is no replacement this module knows.
    """
    if isinstance(fault, Status):
        return _error(fault, correlation_id)
    if isinstance(fault, Redirect):
        return Answer(fault.code, b"", ((b"location", fault.location.encode("latin-1")),))
    if isinstance(fault, Exact):
        return Answer(fault.code, fault.body.encode(), _headers(fault.headers))
    raise TypeError(f"not a replacement: {fault!r}")


def rewritten(answer: Answer, fault: Rewrite) -> Answer:
    """Return the answer as the fault changes it."""
    body, headers = answer.body, answer.headers
    if isinstance(fault, Malformed):
        body = _malformed(fault, body)
    elif isinstance(fault, SetCookie):
        headers = (*headers, (b"set-cookie", fault.cookie.encode("latin-1")))
    elif isinstance(fault, UnknownStatus):
        body = _edited(body, {"status": fault.status})
    elif isinstance(fault, Stale):
        body = _stale(body, fault)
    elif isinstance(fault, Edit):
        headers = (*headers, *_headers(fault.headers))
        body = _edited(body, fault.set, fault.omit) if fault.set or fault.omit else body
    return Answer(answer.status, body, headers)


def _error(fault: Status, correlation_id: str) -> Answer:
    answer = _error_body(fault, correlation_id)
    if fault.retry_after is None or any(name == b"retry-after" for name, _ in answer.headers):
        return answer
    retry_after: Header = (b"retry-after", fault.retry_after.encode("latin-1"))
    return Answer(answer.status, answer.body, (*answer.headers, retry_after))


def _error_body(fault: Status, correlation_id: str) -> Answer:
    body = _BODY_BY_CODE.get(fault.code, "klarna_json") if fault.body == "auto" else fault.body
    if body == "html":
        return html_page(fault.code)
    if body == "abuse":
        return abuse_page(fault.code)
    if body == "empty":
        limited = fault.code == 429  # noqa: PLR2004 - Too Many Requests
        return rate_limited(retry_after=fault.retry_after) if limited else Answer(fault.code)
    answer = klarna_error(fault.code, correlation_id, code=fault.error_code)
    correlation: Header = (b"klarna-correlation-id", correlation_id.encode())
    return Answer(answer.status, answer.body, (*answer.headers, correlation))


def _malformed(fault: Malformed, body: bytes) -> bytes:
    match fault.kind:
        case "invalid_json":
            return body[:-1] + b",}"
        case "not_object":
            return json_bytes([_fields(body)])
        case "no_status":
            return _edited(body, {}, ["status"])
        case "wrong_types":
            return _edited(body, _WRONG_TYPES)
        case "wrong_session_id":
            return _edited(body, {"session_id": _ANOTHER_ID})
        case "empty_body":
            return b""


def _stale(body: bytes, fault: Stale) -> bytes:
    fields: dict[str, Any] = {} if fault.status is None else {"status": fault.status}
    updated_at = _fields(body).get("updated_at")
    if isinstance(updated_at, str):
        fields["updated_at"] = klarna_timestamp(epoch_seconds(updated_at) - fault.age_seconds)
    return _edited(body, fields)


def _edited(body: bytes, fields: dict[str, Any], omit: list[str] | None = None) -> bytes:
    edited = _fields(body) | fields
    for name in omit or ():
        edited.pop(name, None)
    return json_bytes(edited)


def _fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object; none for any other body, such as an error page."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _headers(pairs: list[tuple[str, str]]) -> tuple[Header, ...]:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)
