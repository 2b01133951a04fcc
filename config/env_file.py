"""The file `.env`: read once, at each entry point's start, into the process's environment."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values, load_dotenv
from dotenv.parser import parse_stream

from config.settings import InvalidSettingsError, refuse

FILE = Path(".env")
# Written by a running `session-worker up`: how the servers that it brought are reached.
UP_FILE = Path(".local/environment")

_HONCHO_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def load_env_files(*, up: bool = True) -> None:
    """Fill what the environment lacks from `.env`, then from a running `up` (unless not `up`).

    Both are looked for in the working directory only. PYTHON_DOTENV_DISABLED=1 switches it off:
    tests, demo and benchmarks never read a deployment's file.
    """
    for file in (FILE, UP_FILE) if up else (FILE,):
        try:
            load_dotenv(file)
        # A ValueError: not UTF-8, or a null byte.
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            refuse(InvalidSettingsError([f"{file}: cannot be read: {reason}"]))


def is_read() -> bool:
    """Return whether there is a `.env` that entry points read."""
    disabled = os.environ.get("PYTHON_DOTENV_DISABLED", "").casefold()
    return FILE.is_file() and disabled not in {"1", "true", "t", "yes", "y"}


def differences(text: str, names: Callable[[str], bool]) -> Iterator[str]:
    """Yield a line for each variable that honcho reads otherwise than `load_env_files`.

    `names` says which variables matter. No line shows a value.
    """
    ours = _ours(text)
    honchos = {name: (line, value) for line, name, value in _honcho(text)}
    for name in sorted(ours.keys() | honchos.keys(), key=lambda n: (ours.get(n) or honchos[n])[0]):
        line, value = ours.get(name, (0, ""))
        others_line, other = honchos.get(name, (0, ""))
        if other is None:
            advice = _spelling(name, value) if name in ours else "quote its value whole"
            yield f"line {others_line}: honcho ends with a traceback at {name}: {advice}"
        elif names(name) and value != other:
            advice = _spelling(name, value) if name in ours else f"write {name}=… without quotes"
            yield f"line {line or others_line}: honcho reads {name} otherwise: {advice}"


def _ours(text: str) -> dict[str, tuple[int, str]]:
    """Each variable's last line and its value; lines without a value are left out."""
    lines = {}
    for binding in parse_stream(StringIO(text)):
        blank = re.match(r"\s*", binding.original.string)
        skipped = blank.group().count("\n") if blank else 0
        if binding.key is not None:
            lines[binding.key] = binding.original.line + skipped
    values = dotenv_values(stream=StringIO(text))
    return {n: (line, v) for n, line in lines.items() if (v := values.get(n)) is not None}


def _honcho(text: str) -> Iterator[tuple[int, str, str | None]]:
    """What honcho 2 makes of each line: a None where it ends with a traceback.

    Restated because honcho is no dependency; a test compares the two.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            tokens = list(shlex.shlex(line, posix=True))
        except ValueError:
            name = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)", line)
            yield number, name.group(1) if name else "a line", None
            continue
        if len(tokens) > 2 and tokens[1] == "=" and _HONCHO_NAME.match(tokens[0]):  # noqa: PLR2004 - name, =, value
            value = "".join(tokens[2:]).replace(r"\n", "\n").replace(r"\t", "\t")
            yield number, tokens[0], value


def _spelling(name: str, value: str) -> str:
    """Return which spelling of the value both read alike, found by trying."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    for written, shown in (
        (value, "value, without export, quotes or a comment"),
        (f"'{value}'", "'value' in single quotes"),
        (f'"{escaped}"', '"value" in double quotes, with a \\ before each \\ and "'),
    ):
        line = f"{name}={written}"
        read = {n: v for _, n, v in _honcho(line)}
        if read == {name: value} and dotenv_values(stream=StringIO(line)) == read:
            return f"write {name}={shown}"
    return f"no spelling is read alike: take it out of {FILE} and set it in the environment"
