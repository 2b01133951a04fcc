"""What is published in docs/ is what the code says and does."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.published import unpublished
from worker.contract.__main__ import outdated
from worker.contract.events import EVENTS, CloudEvent, type_of
from worker.contract.schemas import example_of
from worker.contract.tasks import Track
from worker.domain.events import EventType, build_event, with_token
from worker.domain.session import Kind, PaymentSession
from worker.domain.tracking import TRACK_ARGUMENTS

DOCS = Path(__file__).parents[3] / "docs"
NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)


def test_the_documents_are_those_of_the_models():
    """`python -m worker.contract docs` writes them."""
    assert outdated(DOCS) == []


def test_a_document_that_differs_is_named(tmp_path: Path):
    command = [sys.executable, "-m", "worker.contract", str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0
    (tmp_path / "asyncapi.md").write_text("else")
    (tmp_path / "schemas" / "of_old.json").write_text("{}")

    checked = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert checked.stdout == "not up to date: asyncapi.md\nnot up to date: schemas/of_old.json\n"


# --- events


def test_every_event_type_is_published_once():
    assert sorted(map(type_of, EVENTS)) == sorted(EventType)


def test_the_page_about_events_has_every_type_and_field():
    page = (DOCS / "events.md").read_text()
    fields = {name for model in EVENTS for name in _data_model(model)}

    assert [each for each in EventType if f"\n| `{each}` |" not in page] == []
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("model", EVENTS, ids=type_of)
def test_an_event_has_the_fields_that_are_published_and_no_others(model: type[CloudEvent]):
    """With everything in it that it can have; with as little as it can have."""
    full, least = _built(model, full=True), _built(model, full=False)

    assert unpublished(full) == []
    assert unpublished(least) == []
    assert full.keys() == model.model_fields.keys()
    assert full["data"].keys() == _data_model(model).keys()
    required = {name for name, field in _data_model(model).items() if field.is_required()}
    assert least["data"].keys() == required


@pytest.mark.parametrize("model", EVENTS, ids=type_of)
def test_an_example_is_as_published(model: type[CloudEvent]):
    assert unpublished(example_of(model)) == []


def test_what_is_not_published_is_found():
    event = _built(EVENTS[0], full=True)
    event["data"] |= {"kind": "card", "authorized_by": "nobody"}
    event["time"] = "yesterday"

    assert unpublished(event) == [
        "payment_session.authorized: $.time 'yesterday' is not a 'date-time'",
        "payment_session.authorized: $.data.kind 'card' is not one of ['hpp', 'kp']",
        "payment_session.authorized: data.authorized_by: no such field is published",
    ]
    assert unpublished({"type": "payment_session.paid"}) == [
        "payment_session.paid: no such event is published"
    ]


def _data_model(model: type[CloudEvent]) -> dict[str, object]:
    return model.model_fields["data"].annotation.model_fields


def _built(model: type[CloudEvent], *, full: bool) -> dict[str, object]:
    """An event as the worker builds it."""
    fields = _data_model(model)
    needed = {name for name, field in fields.items() if full or field.is_required()}
    session = PaymentSession(
        session_id="a-session",
        account="default",
        kind=Kind.HPP,
        session_url="https://klarna.invalid/a-session",
        tracked_at=NOW,
        reference="order-1" if full else None,
        status="COMPLETED" if full else None,
        status_updated_at=NOW if full else None,
        expires_at=NOW if full else None,
        order_id="an-order" if "order_id" in needed else None,
        klarna_reference="A1" if "klarna_reference" in needed else None,
    )
    envelope = build_event(
        type_of(model),
        session,
        sequence=1,
        time=NOW,
        observed_at=NOW,
        authorization_expires_at=NOW if "authorization_expires_at" in needed else None,
        minutes_left=10 if "minutes_left" in needed else None,
    ).envelope()
    return with_token(envelope, "a-token") if "authorization_token" in needed else envelope


# --- tasks


def test_the_published_arguments_of_track_are_those_of_the_domain():
    assert tuple(Track.model_fields) == TRACK_ARGUMENTS


def test_the_published_kinds_are_those_of_the_domain():
    kinds = Track.model_json_schema()["properties"]["kind"]["anyOf"][0]["enum"]

    assert kinds == list(Kind)
