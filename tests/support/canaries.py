"""Made-up secrets, each unique, that are found again however they were written down."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote
from uuid import uuid4


class Canaries:
    """Secrets by name; `found_in` answers the names of those that a text holds."""

    def __init__(self) -> None:
        self._spellings: dict[str, frozenset[str]] = {}

    def make(self, name: str) -> str:
        """Return a new secret; letters, digits and hyphens, as tokens and passwords are."""
        return self.add(name, f"canary-{uuid4()}")

    def make_no_id(self, name: str) -> str:
        """Return a new secret that no session id could be: an id may be shown."""
        return self.add(name, f"canary={uuid4()}")

    def add(self, name: str, secret: str) -> str:
        """Look for `secret` too; returns it."""
        assert name not in self._spellings, f"there is a canary of the name {name}"
        self._spellings[name] = frozenset(_spellings(secret))
        return secret

    def found_in(self, text: str, *, among: Iterable[str] | None = None) -> set[str]:
        """The names of the secrets that stand in `text`, plain or written in another way."""
        names = self._spellings if among is None else among
        return {name for name in names if any(s in text for s in self._spellings[name])}

    def named(self, prefix: str) -> set[str]:
        """The names that begin so."""
        return {name for name in self._spellings if name.startswith(prefix)}


def _spellings(secret: str) -> Iterable[str]:
    """Plain, escaped for a URL, in hexadecimal as Postgres shows bytes, and in base64.

    A kombu message's body is base64, and so is a Basic header: whatever stands before a secret
    there, it is spelled in one of three ways, but for the characters at its ends.
    """
    yield secret
    yield quote(secret, safe="")
    yield secret.encode().hex()
    for before in range(3):
        padded = b"\0" * before + secret.encode()
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            yield encode(padded)[4 if before else 0 :].rstrip(b"=").decode()[:-1]
