#!/usr/bin/env bash
# psycopg: in pipeline mode the error of a later statement is raised by reading an earlier result.
#
# Expected: each cursor of a pipeline has its own outcome: the first SELECT succeeded, so its fetchall()
#   gives its rows, and the second, which failed, raises.
# What happens: fetchall() of the first cursor raises the second's error. Called again it gives the
#   rows. The cursor of the failed statement then says only that it "didn't produce a result"
#   (ProgrammingError), in the same way as those behind it, which were never run.
# Why it matters: code that blames the statement whose result it was reading marks the wrong item as
#   failed: a retry of that item repeats what was done, and the bad one is tried for ever.
# Seen with: psycopg 3.3.9, PostgreSQL 15 of Debian.
set -euo pipefail

bin=/usr/lib/postgresql/15/bin
[ -x "$bin/initdb" ] || { echo "PostgreSQL 15 is needed (Debian: postgresql-15)" >&2; exit 2; }
"$bin/postgres" --version
dir=$(mktemp -d)
trap 'as_user "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null; rm -rf "$dir"' EXIT
chmod 755 "$dir"
mkdir "$dir/data"
# The server does not run as root.
as_user() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
  chown nobody "$dir/data"
  as_user() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
fi
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "psycopg[binary]==3.3.9"
as_user "$bin/initdb" -D "$dir/data" -U postgres -A trust >/dev/null
as_user "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/data/log" \
  -o "-k $dir/data -c listen_addresses=" start >/dev/null

venv/bin/python - "$dir/data" <<'PY'
import sys

import psycopg

print("psycopg", psycopg.__version__)
with psycopg.connect(host=sys.argv[1], user="postgres", autocommit=True) as connection:
    with connection.pipeline():
        first = connection.execute("select 'done'")
        second = connection.execute("select 1 / 0")
        third = connection.execute("select 'behind'")
        seen = []
        for cursor in (first, first, second, third):
            try:
                seen.append(cursor.fetchall())
            except psycopg.Error as error:
                seen.append(type(error).__name__)
print("cursor:   first, first again, second, third")
print("expected:", [[("done",)], "...", "DivisionByZero", "PipelineAborted"])
print("seen:    ", seen)
assert seen == ["DivisionByZero", [("done",)], "ProgrammingError", "ProgrammingError"]
PY
