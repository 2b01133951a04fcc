#!/usr/bin/env bash
# RabbitMQ: a rejected message goes back to the front in a classic queue, to the end in a quorum queue.
#
# Expected: basic.reject with requeue puts a message back at its place, or near it, in both types of
#   queue: that is what the word says, and what classic queues do.
# What happens: in a quorum queue it is taken up behind all that wait. With one consumer, "a" that is
#   put back is delivered after "b" and "c". The header x-delivery-count counts from 0, and is there
#   from the first delivery on; classic queues have none.
# Why it matters: programs that requeue to wait for a database change the order of commands for one
#   object ("create" behind "delete") when the queue's type changes, and the type is an argument of
#   the queue or a default of the broker, not a line of the program.
# Seen with: RabbitMQ 3.10.8 of Debian 12, amqp 5.4.2.
set -euo pipefail

server=/usr/lib/rabbitmq/bin/rabbitmq-server
[ -x "$server" ] || { echo "rabbitmq-server is needed (Debian: rabbitmq-server)" >&2; exit 2; }
dpkg-query --show rabbitmq-server
dir=$(mktemp -d)
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check amqp==5.4.2
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
RABBITMQ_NODE_PORT=$(free_port) RABBITMQ_DIST_PORT=$(free_port) ERL_EPMD_PORT=$(free_port)
export RABBITMQ_NODE_PORT RABBITMQ_DIST_PORT ERL_EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1 HOME=$dir
export RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
export RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/log RABBITMQ_PID_FILE=$dir/pid
echo '[].' >plugins
export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins
stop() {
  # epmd refuses to end while the server is registered with it.
  [ ! -f pid ] || kill "$(cat pid)" || true
  for _ in $(seq 100); do
    if epmd -kill >/dev/null 2>&1; then break; fi
    sleep 0.2
  done
  rm -rf "$dir"
}
trap stop EXIT
"$server" >server.log 2>&1 &

venv/bin/python - "$RABBITMQ_NODE_PORT" <<'PY'
import sys
import time

import amqp

for _ in range(300):
    connection = amqp.Connection(f"127.0.0.1:{sys.argv[1]}", confirm_publish=True)
    try:
        connection.connect()
        break
    except OSError:
        time.sleep(0.1)
channel = connection.channel()


def take(queue):
    for _ in range(100):
        if message := channel.basic_get(queue):
            return message
        time.sleep(0.05)
    raise SystemExit("no message")


seen = {}
for kind in ("classic", "quorum"):
    arguments = {"x-queue-type": kind}
    channel.queue_declare(kind, durable=True, auto_delete=False, arguments=arguments)
    for body in "abc":
        channel.basic_publish(amqp.Message(body), routing_key=kind)
    first = take(kind)
    channel.basic_reject(first.delivery_tag, requeue=True)
    time.sleep(0.5)
    seen[kind] = [take(kind).body for _ in "abc"]
    headers = first.properties.get("application_headers")
    print(f"{kind}: expected ['a', 'b', 'c'], seen {seen[kind]}, headers of the first: {headers}")
assert seen == {"classic": ["a", "b", "c"], "quorum": ["b", "c", "a"]}
PY
