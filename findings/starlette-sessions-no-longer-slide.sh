#!/usr/bin/env bash
# Starlette 1: a session ends max_age after its last change, however busy the visitor is.
#
# Expected: SessionMiddleware sends the cookie with each response while there is a session, so that
#   max_age counts from the last request. Starlette 0.52 does.
# What happens: Starlette 1 sends it only when the session was changed. Requests that only read it do
#   not renew it: with max_age of 30 minutes people are logged out in the middle of their work.
# Why it matters: nothing fails on the upgrade from 0.x, and tests that log in and read see no
#   difference. To slide, the program must write to the session (a time, say) now and then.
# Seen with: starlette 0.52.1 and 1.10.0.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >visit.py <<'PY'
import starlette
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient


def login(request):
    request.session["user"] = "a"
    return PlainTextResponse("hello")


def read(request):
    return PlainTextResponse(request.session["user"])


sessions = Middleware(SessionMiddleware, secret_key="test", max_age=1800)
app = Starlette(routes=[Route("/login", login), Route("/read", read)], middleware=[sessions])
client = TestClient(app)
answers = [client.get(path) for path in ("/login", "/read", "/read")]
assert [answer.status_code for answer in answers] == [200, 200, 200]
renewed = ["set-cookie" in answer.headers for answer in answers]
print(f"starlette {starlette.__version__}: login, read, read renew the cookie: {renewed}")
PY

for version in 0.52.1 1.10.0; do
  python3 -m venv "venv-$version"
  "venv-$version/bin/pip" install --quiet --disable-pip-version-check \
    "starlette==$version" itsdangerous==2.2.0 httpx==0.28.1
  "venv-$version/bin/python" -W ignore visit.py
done | tee seen.txt
diff seen.txt - <<'TXT'
starlette 0.52.1: login, read, read renew the cookie: [True, True, True]
starlette 1.10.0: login, read, read renew the cookie: [True, False, False]
TXT
