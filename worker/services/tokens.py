"""The ports for authorization tokens at rest: encrypting them and erasing spent ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class TokenCipher(Protocol):
    """Authorization tokens at rest."""

    def encrypt(self, token: str) -> bytes:
        """Encrypt with the first key."""

    def decrypt(self, encrypted: bytes) -> str:
        """Decrypt with any key.

        Raises:
            TokenUnreadableError: no key fits.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentToken:
    """An erased authorization token; `undelivered`: some sink did not get it in time."""

    session_id: str
    undelivered: bool


class Tokens(Protocol):
    """Stored authorization tokens. Raises UnavailableError."""

    async def erase_spent(self, *, limit: int) -> list[SpentToken]:
        """Erase tokens that are delivered or have expired; returns whose they were."""
