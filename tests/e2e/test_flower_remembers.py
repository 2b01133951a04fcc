"""Flower across restarts, and the settings that a login needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from celery import Celery

from tests.support.eventually import eventually
from tests.support.flower import Flower, flower
from tests.support.processes import BIN

LOGIN = {"FLOWER_BASIC_AUTH": "operator:a-made-up-password"}
TASK_ID = "6a1f7a9e-7f0b-4c5c-9d0a-2f8b7c1e5d3a"
OAUTH = {
    "FLOWER_AUTH": ".*@shop.test",
    "FLOWER_AUTH_PROVIDER": "flower.views.auth.GoogleAuth2LoginHandler",
    "FLOWER_OAUTH2_KEY": "key",
    "FLOWER_OAUTH2_SECRET": "a-made-up-secret",
    "FLOWER_OAUTH2_REDIRECT_URI": "https://flower.shop.test/login",
}


def tasks(seen: Flower) -> str:
    """What it knows of tasks."""
    return seen.text("/api/tasks")


def test_what_it_saw_outlives_it(environment: dict[str, str], tmp_path: Path):
    """With FLOWER_PERSISTENT, a task seen before a restart is there after it."""
    kept = environment | LOGIN | {"FLOWER_PERSISTENT": "true", "FLOWER_DB": str(tmp_path / "tasks")}
    shop = Celery("shop", broker=environment["REDIS_URL"], set_as_current=False)
    with flower(kept, tmp_path / "first.log") as seen:
        seen.wait_until_it_answers()
        with shop.connection() as connection:
            # As a worker says it; again until Flower's receiver stands.
            events = shop.events.Dispatcher(connection, hostname="worker@test")

            def is_seen() -> bool:
                events.send("task-received", uuid=TASK_ID, name="payment_sessions.poll")
                return TASK_ID in tasks(seen)

            eventually(is_seen, because="Flower sees the task")
    shop.close()

    with flower(kept, tmp_path / "second.log") as seen:
        seen.wait_until_it_answers()

        assert TASK_ID in tasks(seen)


@pytest.mark.parametrize(
    "missing", [name for name in OAUTH if name != "FLOWER_AUTH"], ids=lambda name: name.lower()
)
def test_half_set_oauth_is_refused(environment: dict[str, str], missing: str):
    """Without them no login is possible: one line names the missing setting."""
    settings = {name: value for name, value in OAUTH.items() if name != missing}

    ended = subprocess.run(
        [BIN / "celery", "-A", "worker", "flower", "--address=127.0.0.1", "--port=0"],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 2
    fault = f"  {missing}: is missing although FLOWER_AUTH is set"
    assert ended.stderr.splitlines()[-1].startswith(fault)
    assert "a-made-up-secret" not in ended.stdout + ended.stderr
