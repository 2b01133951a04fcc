"""Accounts: who a Basic header belongs to, and each account's rate limit."""

import base64
from dataclasses import dataclass

from devkit.sandbox import clock
from devkit.sandbox.responses import Header

DEFAULT_ACCOUNT = "default"
DEFAULT_USERNAME = "sandbox-user"
DEFAULT_PASSWORD = "sandbox-password"  # noqa: S105 - a credential of the mock server only
DEFAULT_REQUESTS_PER_SECOND = 200
"""Klarna docs, rate limits: 200 reads a second in production, 50 in playground."""


@dataclass(slots=True)
class Account:
    """One merchant's credentials; `requests_per_second` 0 means no limit."""

    name: str
    username: str
    password: str
    requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND
    _window_ends: float = 0.0
    _used: int = 0

    def admit(self) -> bool:
        """Count one request; return False once the limit of this second is reached.

        Klarna docs, rate limits: once limited, every request is limited until the reset.
        """
        if not self.requests_per_second:
            return True
        now = clock.monotonic()
        if now >= self._window_ends:
            self._window_ends = now + 1.0
            self._used = 0
        self._used += 1
        return self._used <= self.requests_per_second

    def limit_headers(self) -> tuple[Header, ...]:
        """Return `X-Ratelimit-*` in Klarna's form, such as `5, 5;w=1`."""
        limit = self.requests_per_second
        if not limit:
            return ()
        return (
            (b"x-ratelimit-limit", b"%d, %d;w=1" % (limit, limit)),
            (b"x-ratelimit-remaining", b"%d" % max(0, limit - self._used)),
            (b"x-ratelimit-reset", b"1"),
        )


class Accounts:
    """The known accounts, found by the exact bytes of their Authorization header."""

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self._by_header: dict[bytes, Account] = {}
        self._by_name: dict[str, Account] = {}
        for account in accounts:
            self.put(account)

    def put(self, account: Account) -> None:
        """Add an account, or replace the one of that name."""
        self._by_name[account.name] = account
        self._by_header = {_basic(known): known for known in self._by_name.values()}

    def by_header(self, authorization: bytes | None) -> Account | None:
        """Return whose credentials these are, or None."""
        return None if authorization is None else self._by_header.get(authorization)

    def by_name(self, name: str) -> Account | None:
        """Return the account of that name, or None."""
        return self._by_name.get(name)

    def all(self) -> list[Account]:
        """Return every account."""
        return list(self._by_name.values())


def _basic(account: Account) -> bytes:
    return b"Basic " + base64.b64encode(f"{account.username}:{account.password}".encode())
