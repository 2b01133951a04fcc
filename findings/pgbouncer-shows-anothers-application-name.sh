#!/usr/bin/env bash
# PgBouncer: a client without application_name runs under the name of the client before it.
#
# Expected: application_name is one of the few parameters that PgBouncer keeps for each client in
#   transaction mode, next to client_encoding, datestyle, timezone and standard_conforming_strings.
# What happens: it is kept only for a client that has set one. One that never did gets whatever name
#   the server connection has from its last user. timezone and datestyle, in the same program, are
#   put back to their defaults for such a client.
# Why it matters: pg_stat_activity, log_line_prefix and statistics by application blame the wrong
#   program for a slow query or a lock; whoever ends backends by their name ends others' work.
# Seen with: PgBouncer 1.18.0 and PostgreSQL 15 of Debian 12, psycopg 3.3.9.
set -euo pipefail

bin=/usr/lib/postgresql/15/bin
[ -x "$bin/initdb" ] || { echo "PostgreSQL 15 is needed (Debian: postgresql-15)" >&2; exit 2; }
command -v pgbouncer >/dev/null || { echo "pgbouncer is needed (Debian: pgbouncer)" >&2; exit 2; }
pgbouncer --version | head -n 1
dir=$(mktemp -d)
trap '[ ! -f "$dir/data/pooler.pid" ] || kill "$(cat "$dir/data/pooler.pid")"
  as_user "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null; rm -rf "$dir"' EXIT
chmod 755 "$dir"
mkdir "$dir/data"
# Neither server runs as root.
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
as_user tee data/users >/dev/null <<<'"postgres" ""'
as_user tee data/pgbouncer.ini >/dev/null <<INI
[databases]
* = host=$dir/data
[pgbouncer]
listen_addr =
unix_socket_dir = $dir/data
listen_port = 6432
auth_type = trust
auth_file = $dir/data/users
pool_mode = transaction
default_pool_size = 1
pidfile = $dir/data/pooler.pid
INI
as_user pgbouncer "$dir/data/pgbouncer.ini" >pooler.log 2>&1 &

venv/bin/python - "$dir/data" <<'PY'
import sys
import time

import psycopg


def connect(**parameters):
    for _ in range(100):
        try:
            return psycopg.connect(
                host=sys.argv[1], port=6432, user="postgres", autocommit=True, **parameters
            )
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise SystemExit("PgBouncer did not start")


named, nameless = connect(application_name="billing"), connect()
named.execute("set timezone = 'Asia/Tokyo'")
own_timezone = named.execute("show timezone").fetchone()[0]
timezone = nameless.execute("show timezone").fetchone()[0]
named.execute("select 1")
name = nameless.execute("show application_name").fetchone()[0]
print(f"expected of the client without a name: '' (timezone: not {own_timezone})")
print(f"seen: {name!r} (timezone: {timezone})")
assert name == "billing" and timezone != own_timezone == "Asia/Tokyo"
PY
