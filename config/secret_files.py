"""Secrets from files: `<NAME>_FILE` names a file that holds the value of `<NAME>`.

For a written list only: other settings that end in `_FILE` are files of their own.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from unicodedata import category

SUFFIX = "_FILE"
SECRETS = (
    *("DATABASE_URL", "REDIS_URL", "BROKER_URL", "KLARNA_PASSWORD", "TOKEN_ENCRYPTION_KEYS"),
    *("WEBHOOK_SECRETS", "COMMERCE_LAYER_CLIENT_SECRET", "PAYWAY_CLIENT_SECRET"),
    *("CONSOLE_BASIC_AUTH", "CONSOLE_DATABASE_URL"),
)
FLOWER_SECRETS = ("FLOWER_BASIC_AUTH", "FLOWER_OAUTH2_SECRET")
_NAMED_SECRET = re.compile(r"(KLARNA_ACCOUNTS__.+__PASSWORD|WEBHOOK_ENDPOINTS__.+__SECRETS)")
# None of them is as long; what is, was named by mistake.
_LONGEST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables by their upper-cased names; `faults` has the lines of those that are wrong."""

    variables: Mapping[str, str]
    faults: Mapping[str, str]


def may_come_from_a_file(name: str) -> bool:
    """Return whether `<name>_FILE` is read."""
    return name in SECRETS or name in FLOWER_SECRETS or bool(_NAMED_SECRET.fullmatch(name))


def is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether the variable has a value, or a file has it."""
    return bool(environ.get(name) or environ.get(name + SUFFIX))


def read_environment(environ: Mapping[str, str], wanted: Callable[[str], bool]) -> Environment:
    """Return the `wanted` variables, each secret from its file; an unset one is left out.

    One trailing line break of a file is removed, and nothing else.
    """
    given = {name.upper(): value for name, value in environ.items()}
    variables = {name: value for name, value in given.items() if wanted(name)}
    faults: dict[str, str] = {}
    for name in [each.removesuffix(SUFFIX) for each in given if each.endswith(SUFFIX)]:
        if not may_come_from_a_file(name) or not wanted(name):
            continue
        variables.pop(name + SUFFIX, None)
        if not (file := given[name + SUFFIX]):
            continue
        if variables.pop(name, None):
            faults[name] = f"{name}{SUFFIX}: is set, and {name} too: take one of them away"
            continue
        try:
            variables[name] = _content(Path(file))
        except (OSError, ValueError) as error:
            faults[name] = f"{name}{SUFFIX}: cannot be read: {_reason(error)}"
    for name, value in variables.items():
        if value and category(value[-1]) == "Cc":
            source = name + SUFFIX if given.get(name + SUFFIX) else name
            faults[name] = f"{source}: ends with a line break or other control character: remove it"
    return Environment(variables, faults)


def fill_in_flower_secrets(environ: MutableMapping[str, str]) -> list[str]:
    """Move Flower's secrets from files to the variables that Flower reads; return the faults."""
    read = read_environment(environ, FLOWER_SECRETS.__contains__)
    for name, value in read.variables.items():
        # The process's own children must not find both.
        if name not in read.faults and environ.pop(name + SUFFIX, ""):
            environ[name] = value
    return list(read.faults.values())


def _reason(error: OSError | ValueError) -> str:
    """Return it without the file's name: a secret may stand there by mistake."""
    return str(getattr(error, "strerror", None) or error)


def _content(file: Path) -> str:
    # A pipe could be read once only, and settings are read more often.
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("it is not a file")
    with file.open("rb") as opened:
        content = opened.read(_LONGEST_BYTES + 1)
    if len(content) > _LONGEST_BYTES:
        raise ValueError(f"it is longer than {_LONGEST_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    if "\0" in text:
        raise ValueError("it has a null byte")
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
