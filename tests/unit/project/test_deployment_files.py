"""Dockerfile, .dockerignore and compose.yaml: what no engine is needed to see."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import BrokerSettings, DatabaseSettings
from tests.support.processes import BIN

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = ("migrate", "worker", "beat", "flower", "console")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(word, rest) for word, _, rest in (x.partition(" ") for x in joined.splitlines() if x)]


def last_stage() -> list[tuple[str, str]]:
    made = instructions()
    return made[max(i for i, (word, _) in enumerate(made) if word == "FROM") :]


# --- Dockerfile


def test_the_linter_has_nothing_against_it():
    """Hadolint, which fails on style as well; a wrong instruction shows that it looks."""
    linted = lint((ROOT / "Dockerfile").read_text())
    broken = lint("FROM debian\nRUN cd /tmp && sudo apt-get install -y curl\n")

    assert (linted.returncode, linted.stdout) == (0, "")
    assert broken.returncode == 1
    assert "DL3004" in broken.stdout


def lint(dockerfile: str) -> subprocess.CompletedProcess[str]:
    command = [BIN / "hadolint", "--no-color", "--failure-threshold", "style", "-"]
    return subprocess.run(command, input=dockerfile, capture_output=True, text=True, check=False)


def test_the_image_runs_as_nobody_in_particular():
    (user,) = [rest for word, rest in last_stage() if word == "USER"]
    after = [word for word, _ in last_stage()][[w for w, _ in last_stage()].index("USER") :]

    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert "RUN" not in after
    assert "COPY" not in after


def test_everything_installed_is_a_wheel_with_a_locked_hash():
    installs = [
        command
        for word, rest in instructions()
        if word == "RUN"
        for command in rest.split("&&")
        if " install " in command
    ]

    assert installs
    for command in installs:
        assert ("--require-hashes" in command and "--only-binary :all:" in command) or (
            "--no-index" in command
        )


def test_the_last_stage_installs_nothing():
    assert not [rest for word, rest in last_stage() if word == "RUN" and "install" in rest]
    assert ("COPY", "--from=build /opt/venv /opt/venv") in last_stage()


def test_the_base_is_of_one_debian():
    """`slim` alone becomes another Debian some day, under a program that nobody changed."""
    (base,) = [rest for word, rest in instructions() if word == "ARG"]
    stages = [rest.split()[0] for word, rest in instructions() if word == "FROM"]

    assert re.fullmatch(r"PYTHON_TAG=3\.\d+-slim-[a-z]+", base)
    assert set(stages) == {"python:${PYTHON_TAG}"}


def test_commands_need_no_shell():
    command = next(rest for word, rest in last_stage() if word == "CMD")
    check = next(rest for word, rest in last_stage() if word == "HEALTHCHECK")

    assert json.loads(command) == ["celery", "-A", "worker", "worker"]
    assert json.loads(check.partition("CMD ")[2]) == ["session-worker", "health", "--live"]


def test_the_image_checks_the_progress_of_its_own_process():
    """Where it may write: compose.yaml's containers have a file system for it."""
    environment = " ".join(rest for word, rest in last_stage() if word == "ENV")
    (file,) = re.findall(r"PROGRESS_FILE=(\S+)", environment)

    for name in ("worker", "beat"):
        assert str(Path(file).parent) in COMPOSE[name]["tmpfs"]
        assert COMPOSE[name]["environment"]["PROGRESS_FILE"] == file


def test_every_copied_path_exists_and_is_let_through():
    let_through = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        path.rstrip("/")
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    }

    assert copied == let_through
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_has_the_first_distribution_alone():
    """No file of the devkit is copied, and what only the devkit needs is not in the lock."""
    copied = [rest for word, rest in instructions() if word == "COPY"]
    extras = tomllib.loads((ROOT / "devkit" / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    only_devkit = {
        re.split(r"[^\w-]", requirement)[0]
        for requirement in extras["embedded"] + extras["analysis"]
    }
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    locked = set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))

    assert copied
    assert not [paths for paths in copied if "devkit" in paths]
    assert locked
    assert not locked & only_devkit


# --- compose.yaml


def environment_of(name: str) -> dict[str, Any]:
    return COMPOSE[name].get("environment", {})


def test_migrations_flower_and_console_get_the_secrets_they_need_and_no_other():
    database = {name.upper() for name in DatabaseSettings.model_fields}
    broker = {name.upper() for name in BrokerSettings.model_fields}

    assert set(environment_of("migrate")) == database
    assert {n for n in environment_of("flower") if not n.startswith("FLOWER_")} <= broker
    assert {n for n in environment_of("console") if not n.startswith("CONSOLE_")} == database
    assert not {"migrate", "flower", "console"} & {n for n, s in COMPOSE.items() if "env_file" in s}


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_worker_and_beat_start_after_the_migrations(name: str):
    waits = {other: how["condition"] for other, how in COMPOSE[name]["depends_on"].items()}

    assert waits == {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert environment_of(name)["FLOWER_BASIC_AUTH"] == ""
    assert environment_of(name)["CONSOLE_BASIC_AUTH"] == ""


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_without_privileges(name: str):
    assert COMPOSE[name]["read_only"] is True
    assert COMPOSE[name]["cap_drop"] == ["ALL"]
    assert isinstance(COMPOSE[name]["command"], list)


def test_what_runs_on_is_restarted_and_has_a_health_check():
    for name, service in COMPOSE.items():
        if name == "migrate":
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "unless-stopped"
        # Worker and beat have the image's own.
        assert ("healthcheck" in service) == (name not in {"worker", "beat"}), name


def test_only_what_asks_for_a_login_is_published_and_only_on_this_host():
    published = {name: service["ports"] for name, service in COMPOSE.items() if "ports" in service}

    assert published == {
        "flower": ["127.0.0.1:5555:5555"],
        "console": ["127.0.0.1:8098:8098"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_commands_are_those_of_the_procfile():
    """One truth of how each process is started."""
    lines = dict(
        line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line
    )

    assert " ".join(COMPOSE["migrate"]["command"]) == lines["release"]
    for name in ("worker", "beat", "flower", "console"):
        assert " ".join(COMPOSE[name]["command"]).startswith(lines[name])
