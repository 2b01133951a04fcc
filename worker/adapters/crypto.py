"""Encrypts stored authorization tokens with Fernet; keys are rotated by a list of keys."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from worker.services.errors import TokenUnreadableError


class FernetTokenCipher:
    """Implements the port `TokenCipher`: the first key encrypts, every key decrypts."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, token: str) -> bytes:
        """Encrypt with the first key."""
        return self._fernet.encrypt(token.encode())

    def decrypt(self, encrypted: bytes) -> str:
        """Decrypt with any key.

        Raises:
            TokenUnreadableError: no key fits.
        """
        try:
            return self._fernet.decrypt(encrypted).decode()
        except InvalidToken:
            raise TokenUnreadableError(
                "the authorization token does not decrypt: no key in TOKEN_ENCRYPTION_KEYS fits"
            ) from None
