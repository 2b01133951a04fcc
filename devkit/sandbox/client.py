"""A typed client of the control API, for tests, the demo and benchmarks; blocking."""

from collections.abc import Iterable
from typing import Any, Unpack

import httpx

from devkit.sandbox.accounts import (
    DEFAULT_ACCOUNT,
    DEFAULT_PASSWORD,
    DEFAULT_REQUESTS_PER_SECOND,
    DEFAULT_USERNAME,
)
from devkit.sandbox.client_shops import ShopSystemsClient
from devkit.sandbox.client_types import (
    ChangeFields,
    CreatedSession,
    FaultFields,
    FaultKind,
    ScriptFields,
)


class SandboxClient(ShopSystemsClient):
    """Client of the mock server at `url`.

    Every method raises SandboxControlError for input the control API refuses, and httpx.HTTPError
    when the mock server cannot be reached. Usable from several threads; a context manager.
    """

    def create_session(self, **script: Unpack[ScriptFields]) -> CreatedSession:
        """Create a session from a script."""
        created: CreatedSession = self.ask("POST", "/sessions", json=script)
        return created

    def create_sessions(self, scripts: Iterable[ScriptFields]) -> list[CreatedSession]:
        """Create many sessions in one request; all of them or none."""
        created: list[CreatedSession] = self.ask("POST", "/sessions/bulk", json=list(scripts))[
            "sessions"
        ]
        return created

    def set_default_script(self, **script: Unpack[ScriptFields]) -> None:
        """Set the script of sessions that are created through Klarna's own endpoints."""
        self.ask("PUT", "/sessions/default", json=script)

    def session(self, session_id: str) -> dict[str, Any]:
        """Show `status`, `history`, how many `reads` it had, how many `orders` were placed."""
        return dict(self.ask("GET", f"/sessions/{session_id}"))

    def set_status(
        self, session_id: str, status: str, **change: Unpack[ChangeFields]
    ) -> dict[str, Any]:
        """Set a status from now on; steps to come are dropped unless `keep_steps`."""
        path = f"/sessions/{session_id}/status"
        return dict(self.ask("POST", path, json={"status": status, **change}))

    def add_fault(self, kind: FaultKind, **fault: Unpack[FaultFields]) -> str:
        """Add a fault, from now on and for everything unless its scope is given; return its id."""
        return str(self.ask("POST", "/faults", json={"kind": kind, **fault})["fault_id"])

    def faults(self) -> list[dict[str, Any]]:
        """List the faults with their `hits`."""
        faults: list[dict[str, Any]] = self.ask("GET", "/faults")["faults"]
        return faults

    def clear_faults(
        self,
        *,
        fault_id: str | None = None,
        session_id: str | None = None,
        account: str | None = None,
    ) -> int:
        """Remove the matching faults, or all without arguments; held responses stay held."""
        wanted = _given(fault_id=fault_id, session_id=session_id, account=account)
        return int(self.ask("DELETE", "/faults", params=wanted)["cleared"])

    def held(self, *, session_id: str | None = None, account: str | None = None) -> list[Any]:
        """List the held responses, oldest first, each with its `hold_id`."""
        return self._held(_given(session_id=session_id, account=account))

    def wait_for_held(
        self,
        at_least: int = 1,
        *,
        timeout_seconds: float = 10.0,
        session_id: str | None = None,
        account: str | None = None,
    ) -> list[Any]:
        """Wait until that many responses are held.

        Raises:
            TimeoutError: Fewer were held in time.
        """
        wanted = _given(session_id=session_id, account=account)
        held = self._held(wanted | _waiting(at_least, timeout_seconds), timeout_seconds)
        if len(held) < at_least:
            raise TimeoutError(f"{len(held)} of {at_least} responses held")
        return held

    def release(
        self,
        *,
        hold_id: int | None = None,
        session_id: str | None = None,
        account: str | None = None,
        count: int | None = None,
    ) -> int:
        """Release the oldest `count` of the matching held responses, or all; return how many."""
        wanted = _given(hold_id=hold_id, session_id=session_id, account=account, count=count)
        return int(self.ask("POST", "/held/release", json=wanted)["released"])

    def requests(self, *, session_id: str | None = None, account: str | None = None) -> list[Any]:
        """List the requests seen at Klarna's endpoints, oldest first; `account` may be absent."""
        return self._requests(_given(session_id=session_id, account=account))

    def wait_for_requests(
        self,
        at_least: int = 1,
        *,
        timeout_seconds: float = 10.0,
        session_id: str | None = None,
        account: str | None = None,
    ) -> list[Any]:
        """Wait until that many requests have arrived (not: have been answered).

        Raises:
            TimeoutError: Fewer arrived in time.
        """
        wanted = _given(session_id=session_id, account=account)
        seen = self._requests(wanted | _waiting(at_least, timeout_seconds), timeout_seconds)
        if len(seen) < at_least:
            raise TimeoutError(f"{len(seen)} of {at_least} requests seen")
        return seen

    def clear_requests(self) -> None:
        """Empty the log and reset the counters."""
        self.ask("DELETE", "/requests")

    def set_log_size(self, size: int) -> None:
        """Keep the newest `size` requests; 0 switches the log off (the counters still count)."""
        self.ask("PUT", "/log", json={"size": size})

    def counters(self) -> dict[str, Any]:
        """Return `requests`, `in_flight`, `max_in_flight`, `by_status` and `by_account`."""
        return dict(self.ask("GET", "/counters"))

    def set_limiter(self, requests_per_second: int, *, account: str | None = None) -> None:
        """Set the rate limit of one account or of all; 0 means no limit."""
        wanted = _given(requests_per_second=requests_per_second, account=account)
        self.ask("PUT", "/limiter", json=wanted)

    def put_account(
        self,
        name: str = DEFAULT_ACCOUNT,
        *,
        username: str = DEFAULT_USERNAME,
        password: str = DEFAULT_PASSWORD,
        requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND,
    ) -> None:
        """Add an account or replace the one of that name, say to change its password."""
        account = {"name": name, "username": username, "password": password}
        limit = {"requests_per_second": requests_per_second}
        self.ask("PUT", "/accounts", json=account | limit)

    def accounts(self) -> list[dict[str, Any]]:
        """List the accounts without their passwords."""
        accounts: list[dict[str, Any]] = self.ask("GET", "/accounts")["accounts"]
        return accounts

    def now(self) -> str:
        """Return the mock server's time in Klarna's format."""
        return str(self.ask("GET", "/clock")["now"])

    def advance_clock(self, seconds: float) -> None:
        """Move the mock server's clock."""
        self.ask("POST", "/clock", json={"advance": seconds})

    def reset(self) -> None:
        """Delete sessions, faults, log and clock shift; release held responses; keep accounts."""
        self.ask("POST", "/reset")

    def healthy(self) -> bool:
        """Return whether the mock server answers."""
        try:
            return bool(self.ask("GET", "/health"))
        except httpx.HTTPError:
            return False

    def _held(self, params: dict[str, Any], timeout_seconds: float = 0.0) -> list[Any]:
        return list(self.ask("GET", "/held", params=params, wait_seconds=timeout_seconds)["held"])

    def _requests(self, params: dict[str, Any], timeout_seconds: float = 0.0) -> list[Any]:
        response = self.ask("GET", "/requests", params=params, wait_seconds=timeout_seconds)
        return list(response["requests"])


def _given(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    return {name: value for name, value in values.items() if value is not None}


def _waiting(at_least: int, timeout_seconds: float) -> dict[str, Any]:
    return {"at_least": at_least, "timeout": timeout_seconds}
