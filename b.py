import base64
import datetime as d
import json

from standardwebhooks.webhooks import Webhook

sec = "whsec_" + base64.b64encode(bytes(range(200, 232))).decode()
w = Webhook(sec)
now = d.datetime.now(d.UTC).replace(microsecond=0)
ts = str(int(now.timestamp()))


def v(name, body, hdr, w=w):
    try:
        print(name, "OK", repr(w.verify(body, hdr)))
    except Exception as e:
        print(name, "ERR", type(e).__mro__[:2], e)


body = '{"a":1}'
sig = w.sign("m1", now, body)
print(sec, sig)
H = lambda **k: (
    {"webhook-id": "m1", "webhook-timestamp": ts, "webhook-signature": sig}
    | {a.replace("_", "-"): b for a, b in k.items()}
)
v("plain", body, H())
v("garbage", body, H(webhook_signature="garbage " + sig))
v("v1a", body, H(webhook_signature="v1a,xyz " + sig))
v("extra comma", body, H(webhook_signature="v1,a,b " + sig))
v("double space", body, H(webhook_signature="v1,aaaa  " + sig))
v("frac", body, H(webhook_timestamp=ts + ".5"))
v("plus", body, H(webhook_timestamp="+" + ts))
v("sp", body, H(webhook_timestamp=" " + ts + " "))
v("us", body, H(webhook_timestamp=ts[:4] + "_" + ts[4:]))
v("exp", body, H(webhook_timestamp="%de0" % int(ts)))
v("nan", body, H(webhook_timestamp="nan"))
v("big", body, H(webhook_timestamp="1e300"))
v("case", body, {k.upper(): x for k, x in H().items()})
for name, s2 in [
    ("nopad", sec.rstrip("=")),
    ("urlsafe", "whsec_" + base64.urlsafe_b64encode(bytes(range(200, 232))).decode()),
    ("spaces", sec[:10] + " " + sec[10:]),
    ("nl", sec + "\n"),
    ("empty", ""),
    ("whsec_", "whsec_"),
]:
    try:
        w2 = Webhook(s2)
        print(name, w2._whsecret.hex() if hasattr(w2, "_whsecret") else vars(w2))
        v(name, body, H(), w2)
    except Exception as e:
        print(name, "ERR", type(e), e)
nb = "not json"
v("notjson", nb, H(webhook_signature=w.sign("m1", now, nb)))
v("empty", "", H(webhook_signature=w.sign("m1", now, "")))
v("bytes", body.encode(), H())
print(
    "naive",
    w.sign("m1", d.datetime(2023, 1, 1), body)
    == w.sign("m1", d.datetime(2023, 1, 1, tzinfo=d.UTC), body),
)
try:
    print(w.sign("m1", now, body.encode()))
except Exception as e:
    print("sign bytes ERR", type(e), e)
print("micro", w.sign("m1", now.replace(microsecond=999999), body) == sig)
print(
    "pre1970",
    w.sign("m1", d.datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=d.UTC), body)
    == w.sign("m1", d.datetime(1969, 12, 31, 23, 59, 59, tzinfo=d.UTC), body),
)
print(json.dumps({"sec": sec, "ts": ts, "sig": sig}))
