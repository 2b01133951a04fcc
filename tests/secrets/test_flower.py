"""Flower shows and controls everything, so it requires a login."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
from flower.urls import handlers

from tests.support.eventually import eventually
from tests.support.flower import free_port, start_flower
from tests.support.processes import BIN

# Public: the health check, the login page's files, and the metrics, which Prometheus reads without
# a login: names of tasks and workers, times and counts.
OPEN = {"/healthcheck", "/metrics", "/static/(.*)", "/login/?", "/logout", ".*"}
REFUSED = "Invalid settings:\n  FLOWER_BASIC_AUTH: must be user:password\n"


@pytest.mark.parametrize(
    "settings",
    [
        {"FLOWER_BASIC_AUTH": "operator:a-password,second"},
        {"FLOWER_BASIC_AUTH": ":a-password"},
        {"FLOWER_UNAUTHENTICATED_API": "false"},
    ],
)
def test_it_does_not_start_with_less_than_a_whole_login(
    environment: dict[str, str], settings: dict[str, str]
):
    ended = subprocess.run(
        [BIN / "celery", "-A", "worker", "flower", "--address=127.0.0.1", "--port=0"],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stderr.endswith(REFUSED)


def test_it_asks_for_the_login_on_every_page_and_at_every_call(
    environment: dict[str, str], tmp_path: Path
):
    """Every path of the installed release is tested, so a new one, too."""
    port = free_port()
    login = environment | {"FLOWER_BASIC_AUTH": "operator:a-made-up-password"}
    paths = {_pattern(handler) for handler in handlers} - OPEN
    with start_flower(login, port, tmp_path / "flower.log"), _client(port) as anybody:
        eventually(lambda: _is_up(anybody), within=30, because="Flower is up")
        responses = {
            (method, path): anybody.request(method, path.replace("(.+)", "x").replace("(.*)", "x"))
            for path in paths
            for method in ("GET", "POST")
        }

    assert len(paths) > 20
    # 403 and 405: refused before the login is checked, for its form or its method.
    assert {response.status_code for response in responses.values()} <= {401, 403, 405}
    assert {
        path for (_, path), response in responses.items() if response.status_code == 401
    } == paths


def test_it_can_be_opened_on_purpose(environment: dict[str, str], tmp_path: Path):
    """For example behind a proxy that asks for a login."""
    port = free_port()
    opened = environment | {"FLOWER_UNAUTHENTICATED_API": "true"}
    with start_flower(opened, port, tmp_path / "flower.log"), _client(port) as anybody:
        eventually(lambda: _is_up(anybody), within=30, because="Flower is up")
        assert anybody.get("/api/task/types").status_code == 200


def _pattern(handler: object) -> str:
    pattern = handler[0] if isinstance(handler, tuple) else handler.matcher.regex.pattern
    return pattern.removesuffix("$")


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)


def _is_up(anybody: httpx.Client) -> bool:
    try:
        return anybody.get("/healthcheck").is_success
    except httpx.TransportError:
        return False
