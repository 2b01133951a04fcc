#!/usr/bin/env bash
# cloudevents: an event with "subject": null is refused.
#
# Expected: the CloudEvents JSON format says that a null attribute is to be read as if it were absent.
#   Version 1 of this SDK reads it so.
# What happens: version 2 refuses the event: subject "must be a <class 'str'>" and "must not be empty".
# Why it matters: serializers of other languages (Go without omitempty, .NET, Jackson) write null for
#   what is not set. An upgrade of the SDK turns valid events into dead letters.
# Seen with: cloudevents 2.2.0 (its package cloudevents.v1 keeps the old behaviour).
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0

"$dir/venv/bin/python" -W ignore - <<'PY'
import json
from importlib.metadata import version

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import from_json

print("cloudevents", version("cloudevents"))
event = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "order.placed",
    "time": "2027-01-02T03:04:05Z",
    "subject": None,
}
print("expected: subject", from_json(json.dumps(event)).get("subject"))
try:
    read = JSONFormat().read(CloudEvent, json.dumps(event))
except Exception as error:
    print("seen:    ", type(error).__name__, error)
    assert "subject" in str(error)
else:
    raise SystemExit(f"behaviour changed: {read.get_attributes()}")
PY
