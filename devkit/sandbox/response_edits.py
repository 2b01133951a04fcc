"""Replaces and changes responses; pure."""

import json
from typing import Any

from devkit.sandbox.faults import (
    Edit,
    Exact,
    Malformed,
    Redirect,
    Replacement,
    ResponseEdit,
    SetCookie,
    Stale,
    Status,
    StatusBody,
    UnknownStatus,
)
from devkit.sandbox.responses import (
    Header,
    Response,
    abuse_page,
    html_page,
    json_bytes,
    klarna_error,
    rate_limited,
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


def replacement(fault: Replacement, correlation_id: str) -> Response:
    """Return the response that replaces the real one.

    Raises:
        TypeError: The fault is not a known replacement.
    """
    if isinstance(fault, Status):
        return _error(fault, correlation_id)
    if isinstance(fault, Redirect):
        return Response(fault.code, b"", ((b"location", fault.location.encode("latin-1")),))
    if isinstance(fault, Exact):
        return Response(fault.code, fault.body.encode(), _headers(fault.headers))
    raise TypeError(f"not a replacement: {fault!r}")


def edited(response: Response, fault: ResponseEdit) -> Response:
    """Return the response as the fault changes it."""
    body, headers = response.body, response.headers
    if isinstance(fault, Malformed):
        body = _malformed(fault, body)
    elif isinstance(fault, SetCookie):
        headers = (*headers, (b"set-cookie", fault.cookie.encode("latin-1")))
    elif isinstance(fault, UnknownStatus):
        body = _with_fields(body, {"status": fault.status})
    elif isinstance(fault, Stale):
        body = _stale(body, fault)
    elif isinstance(fault, Edit):
        headers = (*headers, *_headers(fault.headers))
        body = _with_fields(body, fault.set, fault.omit) if fault.set or fault.omit else body
    return Response(response.status, body, headers)


def _error(fault: Status, correlation_id: str) -> Response:
    response = _error_body(fault, correlation_id)
    if fault.retry_after is None or any(name == b"retry-after" for name, _ in response.headers):
        return response
    retry_after: Header = (b"retry-after", fault.retry_after.encode("latin-1"))
    return Response(response.status, response.body, (*response.headers, retry_after))


def _error_body(fault: Status, correlation_id: str) -> Response:
    body = _BODY_BY_CODE.get(fault.code, "klarna_json") if fault.body == "auto" else fault.body
    if body == "html":
        return html_page(fault.code)
    if body == "abuse":
        return abuse_page(fault.code)
    if body == "empty":
        limited = fault.code == 429  # noqa: PLR2004 - Too Many Requests
        return rate_limited(retry_after=fault.retry_after) if limited else Response(fault.code)
    response = klarna_error(fault.code, correlation_id, code=fault.error_code)
    correlation: Header = (b"klarna-correlation-id", correlation_id.encode())
    return Response(response.status, response.body, (*response.headers, correlation))


def _malformed(fault: Malformed, body: bytes) -> bytes:
    match fault.kind:
        case "invalid_json":
            return body[:-1] + b",}"
        case "not_object":
            return json_bytes([_fields(body)])
        case "no_status":
            return _with_fields(body, {}, ["status"])
        case "wrong_types":
            return _with_fields(body, _WRONG_TYPES)
        case "wrong_session_id":
            return _with_fields(body, {"session_id": _ANOTHER_ID})
        case "empty_body":
            return b""


def _stale(body: bytes, fault: Stale) -> bytes:
    fields: dict[str, Any] = {} if fault.status is None else {"status": fault.status}
    updated_at = _fields(body).get("updated_at")
    if isinstance(updated_at, str):
        fields["updated_at"] = klarna_timestamp(epoch_seconds(updated_at) - fault.age_seconds)
    return _with_fields(body, fields)


def _with_fields(body: bytes, fields: dict[str, Any], omit: list[str] | None = None) -> bytes:
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
