#!/usr/bin/env bash
# pydantic-settings: a timedelta in a variable cannot be written as a number of seconds.
#
# Expected: TIMEOUT=30 is 30 seconds. pydantic takes the number 30 for a timedelta as seconds, and
#   turns "30" into a number for int and float, and "1700000000" into a time for datetime.
# What happens: a variable is always text, and the text "30" is refused with a message about a "day"
#   identifier. "0:30" is refused too; "00:30" and "00:00:30" are not: they are half an hour and half
#   a minute. "30 days" is taken, "30 s" is not.
# Why it matters: `timeout: timedelta = timedelta(seconds=30)` looks right, works from code and from
#   JSON, and no operator can set it by the plain number that every other program takes.
# Seen with: pydantic-settings 2.16.3, pydantic 2.14.3.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
  pydantic-settings==2.16.3 pydantic==2.14.3

"$dir/venv/bin/python" - <<'PY'
import os
from datetime import timedelta

import pydantic
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    timeout: timedelta


print("pydantic", pydantic.VERSION)
assert Settings(timeout=30).timeout == timedelta(seconds=30)
expected = {
    "30": None,
    "0:30": None,
    "30 s": None,
    "00:30": timedelta(minutes=30),
    "00:00:30": timedelta(seconds=30),
    "30 days": timedelta(days=30),
    "PT30S": timedelta(seconds=30),
}
for text, value in expected.items():
    os.environ["TIMEOUT"] = text
    try:
        seen = Settings().timeout
    except pydantic.ValidationError as error:
        seen = None
        print(f"TIMEOUT={text}:", error.errors()[0]["msg"])
    else:
        print(f"TIMEOUT={text}:", seen)
    assert seen == value, text
PY
