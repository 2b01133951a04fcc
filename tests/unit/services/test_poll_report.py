"""What one poll is logged and counted as."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.support.builders import SESSION_ID, a_session, an_observation, decided
from worker.services.meter import Meter
from worker.services.poll_report import report_poll
from worker.services.sessions import Recorded


class FakeMeter(Meter):
    """Keeps the ignored fields."""

    def __init__(self) -> None:
        self.ignored: list[str] = []

    def answer_field_ignored(self, field: str) -> None:
        """Keep the name of the field."""
        self.ignored.append(field)


def test_each_ignored_field_of_an_answer_is_warned_of_and_counted():
    answer = an_observation(ignored_fields=("customer", "updated_at"), correlation_id="c-1")
    meter = FakeMeter()

    with capture_logs() as lines:
        report_poll(meter, answer, decided(a_session(), answer), Recorded(nudged=False))

    warnings = [line for line in lines if line["event"] == "answer_field_ignored"]
    assert [line["field"] for line in warnings] == meter.ignored == ["customer", "updated_at"]
    assert {line["log_level"] for line in warnings} == {"warning"}
    assert {(line["session_id"], line["correlation_id"]) for line in warnings} == {
        (SESSION_ID, "c-1")
    }
