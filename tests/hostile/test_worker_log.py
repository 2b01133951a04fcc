"""A real worker's log, Celery's own lines too, while a shop sends it everything hostile."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from tests.hostile.injections import ALL, raw_controls
from tests.hostile.listening import Listener
from tests.support.deployment import deployment
from tests.support.eventually import eventually


def test_whatever_a_shop_sends_each_line_stays_one_line(
    hostile_environment: dict[str, str], klarna: Listener, tmp_path: Path
):
    with deployment(hostile_environment, tmp_path) as shop:
        shop.start("worker")
        klarna.heard()
        for text in ALL.values():
            shop.send(f"payment_sessions.{text}", text)
            shop.track(text, reference=text)
            shop.send("payment_sessions.track", **{text: text})
            shop.send("payment_sessions.track_created", {"session_id": text, text: text})
            shop.track(uuid4().hex, session_url=f"{klarna.origin}/{text}")
        sound = uuid4().hex
        shop.track(sound)
        eventually(lambda: shop.session(sound), because="what was sent last is tracked")
        log = shop.logs()
        known = shop.query("SELECT session_id FROM payment_sessions")

    assert known == [{"session_id": sound}]
    assert [request for request in klarna.heard() if sound.encode() not in request] == []
    # Before it, Celery's banner.
    lines = log.partition(" ready.")[2].splitlines()[1:]
    assert all(json.loads(line)["level"] for line in lines)
    assert sum(json.loads(line).get("field") == "task" for line in lines) == len(ALL)
    assert raw_controls(log) == []
