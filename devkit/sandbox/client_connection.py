"""JSON requests to the control API."""

from types import TracebackType
from typing import Any, Literal, Self

import httpx

HttpMethod = Literal["GET", "POST", "PUT", "DELETE"]


class SandboxControlError(ValueError):
    """The control API refused its input; the message names the field."""

    def __init__(self, message: str, errors: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.errors = errors


class ControlConnection:
    """Connections to the control API of the mock server at `url`."""

    def __init__(self, url: str, *, timeout_seconds: float = 15.0, verify: bool = True) -> None:
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            base_url=f"{self.url}/_sandbox",
            timeout=timeout_seconds,
            trust_env=False,
            verify=verify and self.url.startswith("https:"),  # loading certificates is slow
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(
        self,
        method: HttpMethod,
        path: str,
        *,
        json: object = None,
        params: dict[str, Any] | None = None,
        wait_seconds: float = 0.0,
    ) -> Any:  # noqa: ANN401 - JSON; the caller knows what it holds
        """Return the JSON response; wait `wait_seconds` longer than usual for it.

        Raises:
            SandboxControlError: The control API refused the input.
            httpx.HTTPError: There was no response, or an unexpected one.
        """
        timeout = self._timeout_seconds + wait_seconds
        response = self._http.request(method, path, json=json, params=params, timeout=timeout)
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            refusal = response.json()
            raise SandboxControlError(refusal["error"], refusal["errors"])
        return response.raise_for_status().json()
