"""`session-worker health` of reads: accounts and sessions that are refused or fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.stored import Stored

Findings = Callable[[], list[dict[str, Any]]]
Faults = Callable[[], list[str]]


def add_failing(stored: Stored, session_id: str, *, failures: int, since: float, **columns: object):
    defaults = {"due_in": 60, "last_error": "protocol_error: not JSON"}
    stored.add_session(session_id, consecutive_failures=failures, **(defaults | columns))
    stored.rows(
        "UPDATE payment_sessions SET failing_since = now() - %s * interval '1 s'"
        " WHERE session_id = %s",
        since,
        session_id,
    )


def test_an_account_that_is_read_in_vain_with_reason_and_since_when(
    running: Stored, health_faults: Faults
):
    for number in range(3):
        add_failing(running, f"s{number}", failures=5, since=100)
    add_failing(running, "other", failures=9, since=90, last_error="timeout")
    running.add_account(last_read_at="2026-01-01T00:00:00Z")
    since = running.value("SELECT min(failing_since) FROM payment_sessions")

    (fault,) = health_faults()

    assert fault.startswith("account default: no read of it has succeeded for ")
    assert (
        f"4 sessions have been read in vain five times or more since {since:%Y-%m-%dT%H:%M:%SZ}"
        ", most often: protocol_error: not JSON; `session-worker check` tries the account"
    ) in fault


def test_an_account_that_was_never_read(running: Stored, health_faults: Faults):
    for number in range(2):
        add_failing(running, f"s{number}", failures=5, since=100, not_found_count=5)

    (fault,) = health_faults()

    assert "account default: no read of it has ever succeeded, 2 sessions have" in fault


@pytest.mark.parametrize(
    "sessions",
    [
        [{"failures": 50, "since": 3600}],
        [{"failures": 4, "since": 300}, {"failures": 40, "since": 300}],
        [{"failures": 6, "since": 30}, {"failures": 6, "since": 30}],
    ],
    ids=["one lone bad session", "one and a beginner", "one nervous minute"],
)
def test_what_pages_nobody(running: Stored, health_faults: Faults, sessions: list[dict[str, Any]]):
    for number, each in enumerate(sessions):
        add_failing(running, f"s{number}", **each)

    assert health_faults() == []


def test_sessions_that_nobody_knows_are_no_fault_of_an_account_that_is_read(
    running: Stored, health_faults: Faults
):
    running.add_account(last_read_at="now")
    for number in range(2):
        add_failing(running, f"s{number}", failures=7, since=700, not_found_count=7)

    assert health_faults() == []


def test_sessions_that_go_on_failing_are_one_line_with_the_worst(
    running: Stored, findings: Findings
):
    """A single one is a warning."""
    add_failing(running, "worst", failures=60, since=3600)
    (alone,) = [f for f in findings() if f["subject"] == "failing sessions"]
    add_failing(running, "other", failures=20, since=3600, account="nordic")
    (both,) = [f for f in findings() if f["subject"] == "failing sessions"]

    assert (alone["ok"], alone["warning"]) == (True, True)
    assert alone["text"].startswith("1 session goes on failing, the worst is worst of default: 60 ")
    assert both["ok"] is False
    assert both["text"].startswith("2 sessions go on failing, the worst is worst of default: 60 ")
    assert both["text"].endswith("(protocol_error: not JSON): `session-worker show worst`")


def test_a_refused_account_says_since_when_and_when_it_is_probed(
    running: Stored, findings: Findings
):
    """It is a fault of the business: the deployment works."""
    running.add_account(paused_for=100, refusals=3, failing_since="2026-01-01T00:00:00Z")
    probe = running.value("SELECT paused_until FROM accounts")

    (fault,) = [f for f in findings() if not f["ok"]]

    assert fault["business"] is True
    assert fault["text"].startswith(
        "is refused by Klarna (401 or 403) since 2026-01-01T00:00:00Z, the next probe is at "
        f"{probe:%Y-%m-%dT%H:%M:%SZ} (in "
    )
    assert fault["text"].endswith("correct its credentials, then restart worker and beat")


def test_a_refusal_of_this_moment_is_a_warning(running: Stored, findings: Findings):
    running.add_account(paused_for=5, refusals=1, failing_since="now")

    (warned,) = [f for f in findings() if f["warning"]]

    assert (warned["subject"], warned["ok"]) == ("account default", True)


def test_an_account_whose_reads_fail(running: Stored, health_faults: Faults):
    running.add_account(failures=7, failing_since="2026-01-01T00:00:00Z")

    (fault,) = health_faults()

    assert fault.startswith(
        "account default: reads have failed since 2026-01-01T00:00:00Z, the next probe is due now"
    )
