#!/usr/bin/env bash
# pydantic: a datetime as Postgres prints it is refused, and so is ISO 8601's basic form.
#
# Expected: pydantic reads at least what datetime.fromisoformat of Python 3.11 reads.
# What happens: an offset of hours alone ("+00", what Postgres prints for timestamptz) is refused,
#   "20270102T030405Z" too. Yet eight digits alone, a date in ISO 8601, are taken as seconds since
#   1970: "20270102" is a day in August 1970.
# Why it matters: CSV exports, triggers and `timestamptz::text` give "2027-01-02 03:04:05+00". A model
#   that validates them fails, while a compact date passes with a value that is 56 years off.
# Seen with: pydantic 2.14.3, Python 3.11.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3

"$dir/venv/bin/python" - <<'PY'
from datetime import datetime, timezone

import pydantic

print("pydantic", pydantic.VERSION)
read = pydantic.TypeAdapter(datetime).validate_python
right = datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
assert read("2027-01-02 03:04:05+00:00") == right

for text in ("2027-01-02 03:04:05+00", "20270102T030405Z"):
    print("expected:", datetime.fromisoformat(text))
    assert datetime.fromisoformat(text) == right
    try:
        value = read(text)
    except pydantic.ValidationError as error:
        print("seen:    ", error.errors()[0]["msg"])
    else:
        raise SystemExit(f"behaviour changed: {value!r}")

print("expected:", datetime.fromisoformat("20270102"))
value = read("20270102")
print("seen:    ", value)
assert value == datetime.fromtimestamp(20270102, timezone.utc)
PY
