#!/usr/bin/env bash
# pydantic-settings: one dict entry becomes two when part of it comes as JSON.
#
# Expected: ACCOUNTS='{"Nordic": {...}}' and ACCOUNTS__NORDIC__PASSWORD=... fill one entry: variable
#   names are not case sensitive by default, and the two sources are merged.
# What happens: they are merged, but keys from a variable's name are lower-cased and keys inside JSON
#   are not. There are two half entries, "Nordic" and "nordic". Where each field has a default,
#   nothing fails: the secret belongs to an entry that nobody uses.
# Why it matters: a usual split is the plain part as JSON in a config map and the secret as a variable
#   of its own.
# Seen with: pydantic-settings 2.16.3, pydantic 2.14.3.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
  pydantic-settings==2.16.3 pydantic==2.14.3

ACCOUNTS='{"Nordic": {"username": "shop"}}' ACCOUNTS__NORDIC__PASSWORD=secret \
  "$dir/venv/bin/python" - <<'PY'
import pydantic_settings
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict


class Account(BaseModel):
    username: str = ""
    password: str = ""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_nested_delimiter="__")

    accounts: dict[str, Account]


print("pydantic-settings", pydantic_settings.__version__)
seen = Settings().model_dump()["accounts"]
print("expected: one entry with username and password")
print("seen:    ", seen)
assert seen == {
    "Nordic": {"username": "shop", "password": ""},
    "nordic": {"username": "", "password": "secret"},
}
PY
