"""Flower in a real browser: what the person on call does there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.browser import Browser
from tests.support.browser import browser as open_browser
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.flower import flower, free_port
from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, identity_provider

LOGIN = "operator:a-made-up-password"
SEARCH = "input[type=search]"


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: Path) -> Iterator[Deployment]:
    settings = {"FLOWER_BASIC_AUTH": LOGIN, "POLL_MAX_INTERVAL_SECONDS": "1"}
    with deploy(environment | settings, tmp_path) as deployed:
        yield deployed


@pytest.fixture
def window() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def test_polls_are_found_by_payment_session_and_mistakes_are_shown(
    deployment: Deployment, sandbox: SandboxClient, window: Browser, tmp_path: Path
):
    """The worker is online; one session's polls stand alone; a bad argument names its field."""
    port = free_port()
    window.origin = f"http://127.0.0.1:{port}"
    with flower(deployment.environment, tmp_path / "flower.log", port=port) as client:
        worker, _ = deployment.start_all("worker", "beat")
        name = client.wait_until_it_sees_a_worker()
        one, other = sandbox.create_sessions([{"steps": [[1, "COMPLETED"]]}] * 2)
        # One after the other: the first polls of what is tracked at once share a task.
        for session in (one, other):
            deployment.track(session["session_id"], reference="a-reference-of-the-shop's")
            deployment.wait_for_outcomes(session["session_id"])
        deployment.track("an/id/with/slashes")

        window.log_in(LOGIN)
        window.open("/workers")
        window.wait_for(name)
        assert "Online" in window.wait_for("Online")
        window.screenshot("flower-workers")

        window.open("/tasks")
        window.wait_for("payment_sessions.poll")
        window.type_into(SEARCH, one["session_id"])
        found = window.wait_for_change(other["session_id"], one["session_id"])
        window.screenshot("flower-polls-of-one-session")
        assert found.count("payment_sessions.poll") >= 2
        assert found.count("payment_sessions.track") == 1
        assert one["session_id"] in found
        assert "a-reference-of-the-shop's" not in found

        window.open("/tasks")
        window.click("[data-task-state=FAILURE]")
        window.wait_for_change("SUCCESS", "FAILURE")
        window.click("tbody a[href*='/task/']")
        failed = window.wait_for("InvalidArgumentError")
        window.screenshot("flower-failed-track")
        assert "session_id" in failed
        assert "an/id/with/slashes" not in failed
        assert worker.process.poll() is None


def test_a_wrong_login_is_refused(environment: dict[str, str], window: Browser, tmp_path: Path):
    """Nothing is shown, not even a name."""
    port = free_port()
    window.origin = f"http://127.0.0.1:{port}"
    settings = environment | {"FLOWER_BASIC_AUTH": LOGIN}
    with flower(settings, tmp_path / "flower.log", port=port) as client:
        client.wait_until_it_answers()
        window.log_in("operator:guessed")

        for path in ("/workers", "/tasks", "/api/tasks"):
            assert "payment_sessions" not in window.open(path)
            assert window.status() == 401


@pytest.mark.parametrize(("who", "let_in"), [("me@shop.test", True), ("me@else.test", False)])
def test_people_log_in_with_their_identity_provider(
    environment: dict[str, str], window: Browser, tmp_path: Path, who: str, *, let_in: bool
):
    """OAuth by settings alone: those that FLOWER_AUTH names are let in, others are not."""
    port = free_port()
    window.origin = f"http://127.0.0.1:{port}"
    with identity_provider(who) as provider:
        settings = {
            "FLOWER_AUTH": ".*@shop.test",
            "FLOWER_AUTH_PROVIDER": "flower.views.auth.OktaLoginHandler",
            "FLOWER_OAUTH2_OKTA_BASE_URL": provider,
            "FLOWER_OAUTH2_KEY": CLIENT_ID,
            "FLOWER_OAUTH2_SECRET": CLIENT_SECRET,
            "FLOWER_OAUTH2_REDIRECT_URI": f"{window.origin}/login",
        }
        with flower(environment | settings, tmp_path / "flower.log", port=port) as client:
            client.wait_until_it_answers()

            text = window.open("/workers")

            assert ("Access denied" in text) is not let_in
            assert (window.address() == f"{window.origin}/") is let_in
