"""Klarna's answers as observations, over real HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.klarna_reads import tracked_session
from worker.adapters.klarna.client import HttpxKlarna

pytestmark = pytest.mark.anyio


# --- healthy reads


async def test_a_read_is_an_observation_with_everything_the_answer_says(
    sandbox: SandboxClient, klarna: HttpxKlarna
):
    created = sandbox.create_session(
        expires_at="2030-05-15T13:51:43.507Z",
        authorization_token="the-token",
        carries="both",
        order_id="order-1",
        klarna_reference="REF1",
        steps=[{"after": 0, "status": "COMPLETED", "updated_at": "2026-05-13T14:54:04.675+02:00"}],
    )

    seen = await klarna.read(tracked_session(created))

    assert seen.status == "COMPLETED"
    assert seen.updated_at == datetime(2026, 5, 13, 12, 54, 4, 675000, UTC)
    assert seen.expires_at == datetime(2030, 5, 15, 13, 51, 43, 507000, UTC)
    assert seen.authorization_token == "the-token"
    assert (seen.order_id, seen.klarna_reference) == ("order-1", "REF1")
    assert "the-token" not in repr(seen)


@pytest.mark.parametrize(
    ("step", "status", "token"),
    [
        ("incomplete", "incomplete", None),
        ("authorized", "authorized", "kp-token"),
        ("complete", "complete", None),
    ],
)
async def test_a_kp_session_with_a_token_is_authorized(
    sandbox: SandboxClient, klarna: HttpxKlarna, step: str, status: str, token: str | None
):
    created = sandbox.create_session(
        kind="kp", steps=[[0, step]], authorization_token="kp-token", expires_in=600
    )

    seen = await klarna.read(tracked_session(created))

    assert (seen.status, seen.authorization_token) == (status, token)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "unknown_status", "status": "BRAND_NEW"}, "BRAND_NEW"),
        ({"kind": "edit", "omit": ["session_id"]}, "WAITING"),
        ({"kind": "edit", "set": {"customer": {"national_identification_number": "x"}}}, "WAITING"),
        ({"kind": "edit", "set": {"grown": [1, 2]}, "omit": ["updated_at"]}, "WAITING"),
        ({"kind": "edit", "set": {"order_id": "", "authorization_token": ""}}, "WAITING"),
        ({"kind": "gzip_bomb", "size_bytes": 2000}, "WAITING"),
        ({"kind": "oversized", "size_bytes": 200 * 1024}, "WAITING"),
        ({"kind": "set_cookie"}, "WAITING"),
        ({"kind": "edit", "set": {"updated_at": "", "customer": [], "expires_at": 7}}, "WAITING"),
        ({"kind": "drip", "interval_seconds": 0.001, "chunk_bytes": 20}, "WAITING"),
    ],
    ids=[
        "unknown status",
        "missing id",
        "personal data",
        "unknown field and no updated_at",
        "empty texts",
        "small honest gzip",
        "large but bounded",
        "cookie",
        "wrong fields that nobody needs",
        "in small pieces",
    ],
)
async def test_an_unusual_but_sound_answer_is_read(
    sandbox: SandboxClient, klarna: HttpxKlarna, fault: dict[str, Any], status: str
):
    created = sandbox.create_session(faults=[fault])

    seen = await klarna.read(tracked_session(created))

    assert seen.status == status
    assert seen.order_id is None
    assert seen.authorization_token is None
