"""Variables that look like settings and are none: what was meant?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel

from config.secret_files import FLOWER_SECRETS, SECRETS, SUFFIX, is_set, may_come_from_a_file
from config.settings import ConsoleSettings, KlarnaAccount, Settings
from config.webhooks import WebhookEndpointSettings

# What begins so is meant for us; `EVENT_` and `CONSOLE_` are words that others use, too.
_PREFIXES = (
    *("KLARNA_", "POLL_", "EVENT_SINK", "EVENT_STREAM", "WEBHOOK_", "COMMERCE_LAYER_", "PAYWAY_"),
    *("TOKEN_ENCRYPTION_", "CONFIRMATION_", "CONSOLE_BASIC", "CONSOLE_DATABASE"),
)
_NAMED: Mapping[str, type[BaseModel]] = {
    "KLARNA_ACCOUNTS": KlarnaAccount,
    "WEBHOOK_ENDPOINTS": WebhookEndpointSettings,
}
_NAMES = sorted(
    {name.upper() for name in Settings.model_fields | ConsoleSettings.model_fields}
    | {name + SUFFIX for name in SECRETS + FLOWER_SECRETS}
    | set(FLOWER_SECRETS)
)
# Kubernetes and Docker describe services so: a service `klarna-console` of the same namespace.
_SERVICE_LINK = re.compile(r".+_(SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_.+)?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
# Others' variables with names close to ours: Celery's settings in capitals, hosting platforms'.
_OTHERS = re.compile(r"CELERY_EVENT_QUEUE_(TTL|EXPIRES|PREFIX)|CELERY_EVENT_SERIALIZER|TEST_.+")
_CLOSE = 0.88
_ANYTHING_LIKE_IT = 0.6


@dataclass(frozen=True, slots=True)
class Misspelt:
    """A variable that is no setting, and the one that was probably meant."""

    name: str
    meant: str | None

    def __str__(self) -> str:
        hint = f": did you mean {self.meant}?" if self.meant else ""
        return f"{self.name} is no setting and is ignored{hint}"


def is_setting(name: str) -> bool:
    """Return whether a variable of this name is read, by us or as Flower's login."""
    if name in _NAMES:
        return True
    prefix, _, rest = name.partition("__")
    field = rest.rpartition("__")[2]
    if prefix not in _NAMED or field == rest:
        return False
    plain = name.removesuffix(SUFFIX)
    if plain != name and may_come_from_a_file(plain):
        field = field.removesuffix(SUFFIX)
    return field.lower() in _NAMED[prefix].model_fields


def misspelt(environ: Mapping[str, str]) -> Iterator[Misspelt]:
    """Yield each variable that was probably meant for us."""
    for variable, value in sorted(environ.items()):
        name = variable.upper()
        if is_setting(name) or _is_anothers(name, value):
            continue
        meant = what_was_meant(name)
        # Without our prefix it may well be another program's, unless ours is missing.
        ours_is_missing = (
            meant is not None and _is_close(name, meant) and not is_set(meant, environ)
        )
        if name.startswith(_PREFIXES) or ours_is_missing:
            yield Misspelt(name, meant)


def what_was_meant(name: str) -> str | None:
    """Return the setting whose name is the closest, if any is close."""
    for prefix, model in _NAMED.items():
        fields = [field.upper() for field in model.model_fields]
        rest = name.removeprefix(prefix)
        if rest != name:
            return _named(prefix, rest.strip("_"), fields)
    found = get_close_matches(name, _NAMES, n=1, cutoff=_ANYTHING_LIKE_IT)
    return found[0] if found else None


def _named(prefix: str, rest: str, fields: list[str]) -> str:
    """Return the variable of one account or endpoint: its name, then what about it."""
    for field in fields:
        owner = rest.removesuffix(field).rstrip("_")
        if owner and owner != rest.rstrip("_"):
            return f"{prefix}__{owner}__{field}"
    owner, separator, written = rest.rpartition("__")
    close = get_close_matches(written, fields, n=1, cutoff=_ANYTHING_LIKE_IT)
    if separator and close:
        return f"{prefix}__{owner}__{close[0]}"
    return f"{prefix}__<NAME>__{fields[0]}"


def _is_anothers(name: str, value: str) -> bool:
    return bool(
        _OTHERS.fullmatch(name) or _SERVICE_LINK.fullmatch(name) or _SERVICE_URL.match(value)
    )


def _is_close(name: str, meant: str) -> bool:
    return bool(get_close_matches(name, [meant], cutoff=_CLOSE))
