#!/usr/bin/env bash
# httpx: the path of a request is appended to the query of base_url.
#
# Expected: Client(base_url="http://host/api?key=1").get("/items") asks for /api/items, with the query
#   kept or left out (urljoin leaves it out), or base_url is refused.
# What happens: it asks for "/api?key=1/items". The path "/items" becomes a part of the key's value,
#   the query of the request itself is added behind a second question mark.
# Why it matters: base URLs with an API key or a tenant in the query come from settings. The server
#   answers as for /api, often with 200, and the client never learns that it asked for another thing.
# Seen with: httpx 0.28.1; httpx2 2.16.2 does the same.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1

"$dir/venv/bin/python" - <<'PY'
import httpx

print("httpx", httpx.__version__)
asked = []


def answer(request):
    asked.append(request.url.raw_path.decode())
    return httpx.Response(200)


transport = httpx.MockTransport(answer)
with httpx.Client(base_url="http://host/api?key=1", transport=transport) as client:
    client.get("/items")
    client.get("items?page=2")
    client.get("")
print("expected: /api/items?key=1 or /api/items")
print("seen:    ", asked)
assert asked == ["/api?key=1/items", "/api?key=1/items?page=2", "/api?key=1/"]
PY
