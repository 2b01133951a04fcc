import collections
import datetime as d
import decimal
import enum
import uuid
import zoneinfo

from kombu.utils.json import dumps, loads


def t(name, x):
    try:
        s = dumps(x)
        r = loads(s)
        print(name, repr(x), s, "->", repr(r), r == x, type(r))
    except Exception as e:
        print(name, repr(x), "ERR", type(e).__name__, e)


tz = d.timezone(d.timedelta(hours=2))
t("dt", d.datetime(2023, 1, 2, 3, 4, 5, 678901))
t("dt", d.datetime(2023, 1, 2, 3, 4, 5, 678901, tzinfo=tz))
t("dt", d.datetime(2023, 1, 2, 3, 4, 5, 678901, tzinfo=zoneinfo.ZoneInfo("Europe/Stockholm")))
t("dtutc", d.datetime(2023, 1, 2, 3, 4, 5, tzinfo=d.UTC))
t("dec", decimal.Decimal("1.10"))
t("by", b"abc")
t("by", b"\xff")
t("by", {"a": b"abc"})
t("date", d.date(2023, 1, 2))
t("time", d.time(1, 2, 3))
t("set", {1})


class E(enum.Enum):
    A = 1


class S(str, enum.Enum):
    A = "a"


class I(enum.IntEnum):
    A = 1


t("enum", E.A)
t("enum", S.A)
t("ienum", I.A)
P = collections.namedtuple("P", "a b")
t("nt", P(1, 2))
t("typ", {"__type__": "x", "__value__": 1})
t("typ", {"__type__": "uuid"})
t("typ2", {"__type__": "date", "__value__": "2023-01-02"})
t("t3", {"__type__": "datetime", "__value__": "2023-01-02T03:04:05Z"})


class U(uuid.UUID):
    pass


t("uuid", U(int=5))
t("uu", {uuid.UUID(int=5): 1})
t("td", d.timedelta(1))
t("uuid1", uuid.uuid1())
t("uuid5", uuid.uuid5(uuid.NAMESPACE_DNS, "x"))
t("nan", float("nan"))
t("big", 2**70)
t("fz", frozenset([1]))
t("gen", (i for i in range(2)))


class J:
    def __json__(self):
        return {"a": 1}


t("json", J())
t("time-tz", d.time(1, 2, 3, tzinfo=tz))
import pathlib

t("path", pathlib.Path("x"))
t("exc", ValueError("x"))
t("memv", memoryview(b"x"))
t("ba", bytearray(b"x"))
