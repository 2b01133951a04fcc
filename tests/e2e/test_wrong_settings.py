"""A process with invalid settings prints one line per fault and ends: no traceback, no secret."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from config.settings import SHIPPED_POLICY
from tests.support.processes import BIN

SECRET = "secret-9f8e7d"


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_wrong_settings_end_a_process_with_a_line_for_each_fault(
    environment: dict[str, str], role: str
):
    wrong = {
        "DATABASE_URL": f"mysql://app:{SECRET}@db/shop",
        "KLARNA_BASE_URL": f"ftp://{SECRET}",
        "TOKEN_ENCRYPTION_KEYS": f"{SECRET},{environment['TOKEN_ENCRYPTION_KEYS']}",
        "POLL_TASKS_PER_TICK": "none",
        "EVENT_SINKS": "pigeon",
    }

    ended = _start(role, environment | wrong)

    assert ended.returncode == 2
    title, *faults = ended.stderr[ended.stderr.index("Invalid settings:") :].strip().splitlines()
    assert title == "Invalid settings:"
    assert sorted(line.strip().partition(":")[0] for line in faults) == sorted(wrong)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert SECRET not in ended.stdout + ended.stderr


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_no_fault_is_in_pydantics_words(environment: dict[str, str], role: str):
    wrong = {
        "KLARNA_ACCOUNTS__NORDIC_USERNAME": SECRET,
        "KLARNA_ACCOUNTS__EU__PASSWROD": SECRET,
        "KLARNA_ACCOUNTS__US__READ_LIMIT": SECRET,
        "KLARNA_ACCOUNTS__UK__USERNAME__X": SECRET,
        "KLARNA_QUOTA_SHARE": "2",
        "POLL_TASKS_PER_TICK": "0",
        "POLL_LEASE_SECONDS": "-1",
        "POLL_MAX_INTERVAL_SECONDS": "1e9",
        "RETENTION_DAYS": "1.5",
        "CONFIRMATION_EXPECTED": "perhaps",
        "EVENT_SINKS": "pigeon",
        "EVENT_STREAM": "events\n",
        "CELERY_EVENT_TASK": "",
    }

    ended = _start(role, environment | wrong)

    faults = dict(
        line.strip().split(": ", 1)
        for line in ended.stderr[ended.stderr.index("Invalid settings:") :].splitlines()[1:]
    )
    assert SECRET not in ended.stderr
    assert {name: faults[name] for name in wrong if name in faults} == {
        "KLARNA_ACCOUNTS__NORDIC_USERNAME": (
            "is no setting: did you mean KLARNA_ACCOUNTS__NORDIC__USERNAME?"
        ),
        "KLARNA_ACCOUNTS__EU__PASSWROD": (
            "is no setting: did you mean KLARNA_ACCOUNTS__EU__PASSWORD?"
        ),
        "KLARNA_ACCOUNTS__US__READ_LIMIT": "must be a number",
        "KLARNA_QUOTA_SHARE": "must be at most 1",
        "POLL_TASKS_PER_TICK": "must be at least 1",
        "POLL_LEASE_SECONDS": "must be more than 0",
        "POLL_MAX_INTERVAL_SECONDS": "must be at most 365 days",
        "RETENTION_DAYS": "must be a whole number",
        "CONFIRMATION_EXPECTED": "must be true or false",
        "EVENT_SINKS": ("must be one of redis_stream, webhook, celery, commerce_layer, payway"),
        "EVENT_STREAM": "ends with a line break or other control character: remove it",
        "CELERY_EVENT_TASK": "is empty",
    }
    assert faults["KLARNA_ACCOUNTS__UK__USERNAME"].startswith("is set by itself")
    others = {n: f for n, f in faults.items() if n not in wrong and not n.endswith("UK__USERNAME")}
    assert set(others.values()) == {"is missing"}


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_a_missing_broker_ends_a_process_before_it_begins(environment: dict[str, str], role: str):
    ended = _start(role, {name: v for name, v in environment.items() if name != "REDIS_URL"})

    assert (ended.returncode, ended.stderr) == (2, "Invalid settings:\n  REDIS_URL: is missing\n")


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_a_broken_policy_ends_a_process_with_its_file_line_and_field(
    environment: dict[str, str], role: str, tmp_path: Path
):
    """It does not fall back to the shipped one silently."""
    broken = tmp_path / "policy.jsonl"
    header, *rows = SHIPPED_POLICY.read_text().splitlines()
    broken.write_text("\n".join([header, *(row.replace("[", "[-1, ", 1) for row in rows)]))

    ended = _start(role, environment | {"POLL_POLICY_FILE": str(broken)})

    assert ended.returncode == 2
    assert "Traceback" not in ended.stdout + ended.stderr
    assert (
        f"Invalid settings:\n  POLL_POLICY_FILE: {broken}:2: hazard.0: "
        "input should be greater than or equal to 0\n"
    ) in ended.stderr


@pytest.mark.parametrize("role", ["worker", "beat", "check"])
def test_requests_out_of_the_policys_range_end_a_process(environment: dict[str, str], role: str):
    """The message has the range that the policy was calibrated for."""
    ended = _start(role, environment | {"POLL_REQUESTS_PER_SESSION": "3"})

    assert ended.returncode == 2
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "POLL_REQUESTS_PER_SESSION: must be from 3" in ended.stdout + ended.stderr


def _start(role: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "session-worker", role]
        if role == "check"
        else [BIN / "celery", "-A", "worker", role],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
