#!/usr/bin/env bash
# rich: a word in brackets is left out of the output, also where it is no style.
#
# Expected: console.print("[a/b]") prints it: there is no such style, and "[1]" or "[A]" are printed.
# What happens: any text in brackets that begins with a lower-case letter, "#", "/" or "@" counts as a
#   tag. An unknown one is dropped in silence, "[/a]" raises MarkupError, "list[str]" becomes "list".
#   ":x:" inside a word becomes an emoji on the same way. Tables and typer's help texts do the same.
# Why it matters: what is printed is often data: references, paths, type names, log lines of others.
#   A command that shows them loses part of them, or fails for one customer's reference alone. The way
#   out is print(..., markup=False, emoji=False), or Text objects in tables.
# Seen with: rich 15.0.0.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check rich==15.0.0

"$dir/venv/bin/python" - <<'PY'
import io
from importlib.metadata import version

from rich.console import Console
from rich.errors import MarkupError

print("rich", version("rich"))


def printed(text, **options):
    console = Console(file=io.StringIO(), width=80)
    console.print(text, **options)
    return console.file.getvalue().removesuffix("\n")


cases = {"[1]": "[1]", "[A]": "[A]", "order [a/b]": "order ", "list[str]": "list", "a:x:b": "a❌b"}
for text, seen in cases.items():
    print(f"expected: {text!r}, seen: {printed(text)!r}")
    assert printed(text) == seen
    assert printed(text, markup=False, emoji=False) == text
try:
    printed("order [/a]")
except MarkupError as error:
    print("expected: 'order [/a]', seen:", error)
else:
    raise SystemExit("behaviour changed: no MarkupError")
PY
