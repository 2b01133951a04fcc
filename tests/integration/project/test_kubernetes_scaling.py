"""What KEDA asks Postgres: how many sessions are due and would be read by one more worker."""

from __future__ import annotations

import pytest

from tests.support import kubernetes
from tests.support.stored import Stored

pytestmark = pytest.mark.usefixtures("database_url")


def backlog(stored: Stored) -> int:
    scaling = kubernetes.documents(kubernetes.KUBERNETES / "components" / "keda" / "scaling.yaml")
    (scaled,) = [m for m in scaling if m["kind"] == "ScaledObject"]
    (trigger,) = scaled["spec"]["triggers"]
    return int(stored.value(trigger["metadata"]["query"]))


def test_due_sessions_that_a_worker_would_read_are_counted(database_url: str):
    """Not what waits for Klarna: a paused account, or one whose quota is used up."""
    stored = Stored(database_url)
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, next_poll_at)"
        " SELECT account || n, account, 'hpp', 'https://klarna.test/' || account || n,"
        " now() - interval '1 min'"
        " FROM unnest(ARRAY['default', 'paused', 'lengthened']) AS account, generate_series(1, 3) n"
    )
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, next_poll_at)"
        " VALUES ('later', 'default', 'hpp', 'https://klarna.test/later', now() + interval '1 h')"
    )
    stored.rows(
        "INSERT INTO accounts (account, version, paused_until, stretch) VALUES"
        " ('paused', 1, now() + interval '1 min', 1), ('lengthened', 1, NULL, 2)"
    )

    assert backlog(stored) == 3
    stored.close()
