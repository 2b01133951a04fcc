"""What may be an id in a kept message: `erase` finds the message by these."""

from __future__ import annotations

import base64
import json

import pytest

from worker.domain.refused_messages import ids_in

ID = "39a1c773-bafd-754d-af1f-b30c592f1267"


def undecoded(body: bytes) -> str:
    """The envelope of a message that was not handed to a task."""
    return json.dumps({"body": base64.b64encode(body).decode()})


def test_ids_stand_anywhere_in_the_arguments():
    """Whole strings and numbers; as keys, too."""
    args = [[{"session_id": ID}], 4711222, True, None, "two words", {"key-of-it": 1}]

    found = ids_in(json.dumps({"args": args, "kwargs": {"response": {"id": "x" * 128}}}))

    assert found == sorted({ID, "4711222", "session_id", "key-of-it", "response", "x" * 128})


def test_a_message_of_an_unknown_task_has_ids_if_it_is_json():
    assert ids_in(undecoded(json.dumps([[ID], {}, {}]).encode())) == [ID]


@pytest.mark.parametrize("body", [b"\x80\x04K\x01.", b"\xff\xfe", b"", b"[" * 60_000, b"9" * 5000])
def test_what_is_not_json_has_none(body: bytes):
    """It is never unpickled; nesting and numbers without end are refused."""
    assert ids_in(undecoded(body)) == []
