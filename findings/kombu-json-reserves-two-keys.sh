#!/usr/bin/env bash
# kombu: a plain dict with the keys "__type__" and "__value__" cannot be received.
#
# Expected: task arguments that are plain JSON (dicts, strings, numbers) arrive as they were sent.
# What happens: kombu marks its own types (datetime, UUID, Decimal) in JSON by these two keys, and
#   does not escape them in the sender's data. A dict that happens to have both is sent without a
#   word. The receiver raises DecodeError for a type it does not know; one that it knows changes the
#   argument into another object.
# Why it matters: documents of other systems are passed through task queues as they came. The sender
#   sees success; the message is refused at every worker, or its content has another type there.
# Seen with: kombu 5.7.0 (Celery's JSON serializer).
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check kombu==5.7.0

"$dir/venv/bin/python" - <<'PY'
import datetime

import kombu
from kombu.serialization import dumps, loads

print("kombu", kombu.__version__)


def travel(arguments):
    content_type, encoding, body = dumps(arguments, serializer="json")
    return loads(body, content_type, encoding, accept=["application/json"])


one_key = {"__type__": "Money"}
assert travel(one_key) == one_key

sent = {"__type__": "date", "__value__": "2027-01-02"}
received = travel(sent)
print("expected:", sent)
print("received:", repr(received))
assert received == datetime.date(2027, 1, 2)

sent = {"__type__": "Money", "__value__": "12.50"}
print("expected:", sent)
try:
    received = travel(sent)
except Exception as error:
    print("received:", repr(error))
    assert "Unsupported type" in str(error)
else:
    raise SystemExit(f"behaviour changed: received {received!r}")
PY
