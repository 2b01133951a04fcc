"""HTTP responses as values, with the bodies of Klarna's real error responses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
HTML_TYPE: Header = (b"content-type", b"text/html")

_HTML_PAGE = (
    "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
    "<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
)
_ABUSE_PAGE = (
    "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n"
    "You don't have permission to access this resource on this server.\n</BODY>\n</HTML>\n"
)
_ERROR_CODES: Mapping[int, tuple[str, str]] = {
    400: ("BAD_VALUE", "Bad value."),
    403: ("FORBIDDEN", "You are not allowed to access this resource."),
    404: ("NOT_FOUND", "The session has expired or could not be found."),
    405: ("METHOD_NOT_ALLOWED", "Method not allowed."),
    500: ("INTERNAL_SERVER_ERROR", "An unexpected error occurred."),
    503: ("SERVICE_UNAVAILABLE", "The service is temporarily unavailable."),
}


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response before it is sent; `content-length` is added when it is written."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()


def json_response(status: int, body: object) -> Response:
    """Return `body` as compact JSON."""
    return Response(status, json_bytes(body), (JSON_TYPE,))


def json_bytes(body: object) -> bytes:
    """Return compact JSON, its keys in the order given."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def klarna_error(
    status: int, correlation_id: str, *, code: str | None = None, message: str | None = None
) -> Response:
    """Return Klarna's error object.

    Source: Klarna docs, API errors: `error_code`, `error_messages`, `correlation_id`.
    """
    known_code, known_message = _ERROR_CODES.get(status, (_code(status), "Request failed."))
    body = {
        "error_code": code or known_code,
        "error_messages": [message or known_message],
        "correlation_id": correlation_id,
    }
    return json_response(status, body)


def _code(status: int) -> str:
    return reason_phrase(status).upper().replace(" ", "_")


def html_page(status: int) -> Response:
    """Return a gateway's HTML page: how a 401 and a gateway timeout look in recorded traffic."""
    unauthorized = status == HTTPStatus.UNAUTHORIZED
    title = f"{status} {'Authorization Required' if unauthorized else reason_phrase(status)}"
    return Response(status, _HTML_PAGE.format(title=title).encode(), (HTML_TYPE,))


def abuse_page(status: int = 403) -> Response:
    """Return the page of an abuse protection: no error object, seen in recorded traffic."""
    return Response(status, _ABUSE_PAGE.encode(), (HTML_TYPE,))


def rate_limited(*, retry_after: str | None = None) -> Response:
    """Return 429 as recorded: empty, no content type, no Retry-After unless asked for."""
    headers: tuple[Header, ...] = ((b"x-ratelimit-reset", b"1"),)
    if retry_after is not None:
        headers = ((b"retry-after", retry_after.encode("latin-1")),)
    return Response(429, b"", headers)


def reason_phrase(status: int) -> str:
    """Return the standard phrase of a status code, or "Unknown"."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
