#!/usr/bin/env bash
# standardwebhooks: a correctly signed body that is not JSON does not verify in Python.
#
# Expected: verify() checks the signature and returns the body, or raises WebhookVerificationError.
#   The specification signs bytes; it does not ask for JSON.
# What happens: after a good signature the Python library always parses the body. A text body, and
#   even an empty one, raises json.JSONDecodeError. The npm library of the same project returns
#   undefined for an empty body, and takes {jsonParse: false} for text; Python has no such option.
# Why it matters: a receiver that catches WebhookVerificationError answers such a ping with 500, and
#   the sender retries it for days; the same receiver written in Node answers 200.
# Seen with: Python standardwebhooks 1.1.0, npm standardwebhooks 1.1.1.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0
npm install --silent --no-audit --no-fund standardwebhooks@1.1.1 >/dev/null

venv/bin/python - >python.txt <<'PY'
import base64
from datetime import datetime, timezone
from standardwebhooks import Webhook

webhook = Webhook("whsec_" + base64.b64encode(bytes(32)).decode())
now = datetime.now(timezone.utc)
for body in ('{"a": 1}', "", "pong"):
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign("msg_1", now, body),
    }
    try:
        print(f"{body!r}: {webhook.verify(body, headers)}")
    except Exception as error:
        print(f"{body!r}: {type(error).__name__}")
PY

cat >verify.mjs <<'JS'
import { Webhook } from "standardwebhooks";
const webhook = new Webhook("whsec_" + Buffer.alloc(32).toString("base64"));
const now = new Date();
for (const body of ["", "pong"]) {
  const headers = {
    "webhook-id": "msg_1",
    "webhook-timestamp": String(Math.floor(now / 1000)),
    "webhook-signature": webhook.sign("msg_1", now, body),
  };
  console.log(`'${body}': ${webhook.verify(body, headers, { jsonParse: false })}`);
}
JS
node verify.mjs >node.txt

echo "Python:" && cat python.txt
echo "Node:" && cat node.txt
diff python.txt - <<'TXT'
'{"a": 1}': {'a': 1}
'': JSONDecodeError
'pong': JSONDecodeError
TXT
printf "'': undefined\n'pong': undefined\n" | diff node.txt -
