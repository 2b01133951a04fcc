"""confirm: records by hand that an order was placed."""

from __future__ import annotations

import anyio

from config.settings import DatabaseSettings, load
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.sessions.confirmations import PostgresConfirmations
from worker.commands.output import WRONG_USAGE, fail, print_json, say
from worker.domain.confirmation import ConfirmEffect, check_order_id
from worker.domain.errors import InvalidArgumentError, TrackError
from worker.domain.session_addresses import check_session_id
from worker.services.errors import UnavailableError


def confirm(session_id: str, order_id: str, *, as_json: bool) -> None:
    """Confirm directly, not by a task, so that the result can be printed."""
    settings = load(DatabaseSettings)
    try:
        session_id, order_id = check_session_id(session_id), check_order_id(order_id)
    except InvalidArgumentError as error:
        fail(str(error), code=WRONG_USAGE)
    url = settings.database_url.get_secret_value()
    try:
        effect = anyio.run(_confirm, url, session_id, order_id)
    except TrackError as error:
        fail(str(error))
    except UnavailableError as error:
        fail(f"DATABASE_URL: {error}; run `session-worker check`.")
    if as_json:
        print_json({"session_id": session_id, "order_id": order_id, "effect": effect})
    elif effect is ConfirmEffect.UNCHANGED:
        say(f"{session_id} is already confirmed with this order.")
    else:
        say(f"Confirmed {session_id} with order {order_id}; its warnings stop.")


async def _confirm(url: str, session_id: str, order_id: str) -> ConfirmEffect:
    engine = create_engine(url)
    try:
        return await PostgresConfirmations(engine, routes=()).confirm(session_id, order_id)
    finally:
        await engine.dispose()
