"""What Flower, events and logs show of a task's arguments: ids, whatever else was sent."""

from __future__ import annotations

from typing import Any

import pytest

from worker.celery_app.redaction import shown_ids

ID = "39a1c773-bafd-754d-af1f-b30c592f1267"
CANARY = {"client_token": "canary", "auth_token": "canary"}
RESOURCE = {"data": {"id": "p1", "attributes": {"session_id": ID} | CANARY}}
PURCHASE = {"item": {"klarna_payments_session_id": "5aba2ca3", "klarna_client_token": "canary"}}


@pytest.mark.parametrize(
    ("args", "kwargs", "shown"),
    [
        ([ID], {"reference": "canary"}, [repr(ID)]),
        ([], {"session_id": ID}, [repr(ID)]),
        ([[ID, "canary secret"], "lease"], {}, [repr(ID), "?"]),
        ([{"session_id": ID, "redirect_url": "canary"}], {}, [repr(ID)]),
        ([RESOURCE], {}, [repr(ID)]),
        ([], {"resource": RESOURCE}, [repr(ID)]),
        ([PURCHASE], {"session_id": ID}, ["'5aba2ca3'"]),
        ([], {"response": PURCHASE, "session_id": ID}, [repr(ID)]),
        ([{"data": "canary"}], {}, ["?"]),
        ([{"item": ["canary"]}], {}, ["?"]),
        ([], {"canary": "canary"}, ["?"]),
        ("canary", None, ["?"]),
    ],
)
def test_ids_are_shown_and_nothing_else(args: Any, kwargs: Any, shown: list[str]):  # noqa: ANN401 - anything may be sent
    assert shown_ids(args, kwargs) == shown
