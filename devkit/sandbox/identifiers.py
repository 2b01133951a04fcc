"""Generated ids; the same seed gives the same ids in the same order."""

import base64
import json
import random
import string
import uuid

_REFERENCE_LETTERS = string.ascii_uppercase + string.digits


class Identifiers:
    """A source of UUIDs, references and client tokens, deterministic when given a seed."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing here guards anything real

    def uuid(self) -> str:
        """Return a random UUID as text."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def reference(self) -> str:
        """Return eight letters and digits, like the documents' `X438HG0Q`."""
        return "".join(self._random.choices(_REFERENCE_LETTERS, k=8))

    def letters(self, count: int) -> str:
        """Return that many letters."""
        return "".join(self._random.choices(string.ascii_letters, k=count))

    def hexadecimal(self, digits: int) -> str:
        """Return that many hexadecimal digits."""
        return "".join(self._random.choices("0123456789abcdef", k=digits))

    def client_token(self, session_id: str) -> str:
        """Return a JWT-shaped client token that names the session; its signature is random.

        Observed in recorded public traffic: the payload of a real one carries `session_id`.
        """
        header = _base64url(json.dumps({"alg": "RS256", "kid": "sandbox"}).encode())
        payload = _base64url(json.dumps({"session_id": session_id}).encode())
        return f"{header}.{payload}.{_base64url(self._random.randbytes(32))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
