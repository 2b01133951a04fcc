"""refused list, show, retry, drop, confirmations: messages that were not taken in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer
from sqlalchemy import Engine

from config.settings import DatabaseSettings, Settings, load
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.refused import by_hand
from worker.adapters.postgres.reports.refused import RefusedFilter, RefusedReports
from worker.commands.output import (
    WRONG_USAGE,
    counted,
    fail,
    print_facts,
    print_json,
    print_rows,
    say,
    text,
)
from worker.commands.reading import reports, writing
from worker.services.errors import TokenUnreadableError

# What the table's type holds.
LARGEST_ID = 2**63 - 1
_PREFIX = "payment_sessions."


def wanted(
    refused_ids: Sequence[int] | None,
    *,
    waiting: bool,
    task: str | None,
    field: str | None,
    resolved: bool = False,
) -> RefusedFilter:
    """Return the filters as the user gave them; a task may lack its prefix."""
    if any(each > LARGEST_ID for each in refused_ids or ()):
        fail("REFUSED_IDS: no refused message has such an id", code=WRONG_USAGE)
    return RefusedFilter(
        refused_ids=tuple(refused_ids) if refused_ids else None,
        waiting=waiting,
        task=_PREFIX + task if task and "." not in task else task,
        field=field,
        resolved=resolved,
    )


def list_refused(chosen: RefusedFilter, *, limit: int, as_json: bool) -> None:
    """List the newest that match."""
    with reports(RefusedReports) as opened:
        rows = opened.refused(chosen, limit=limit)
        unmatched = opened.unmatched_confirmations(limit=1)
    if as_json:
        print_json([{k: v for k, v in row.items() if k != "position"} for row in rows])
        return
    print_rows("Refused messages", [_listed(row) for row in rows], none="none match")
    if len(rows) == limit:
        say(f"Only the newest {limit}: raise --limit, or filter by --task and --field.")
    if unmatched:
        say(
            "Orders of sessions that nobody tracks were confirmed over a day ago: "
            "`session-worker refused confirmations` lists them."
        )


def show(refused_id: int, *, arguments: bool, as_json: bool) -> None:
    """Show one message; its arguments only on request, since that needs the keys."""
    if refused_id > LARGEST_ID:
        fail(_unknown([refused_id]))
    settings = load(Settings) if arguments else None
    with reports(RefusedReports) as opened:
        message = opened.refused_message(refused_id)
        encrypted = opened.refused_arguments(refused_id) if arguments else None
    if message is None:
        fail(_unknown([refused_id]))
    if settings is not None:
        message["arguments"] = _decrypted(encrypted, settings)
    if as_json:
        print_json(message)
        return
    shown = message | {"state": _state(message)}
    if arguments:
        shown["arguments"] = json.dumps(message["arguments"], ensure_ascii=False)
    del shown["waits_for_person"]
    print_facts(f"Refused message {refused_id}", shown)


def retry(chosen: RefusedFilter, *, yes: bool, as_json: bool) -> None:
    """Make messages due; a worker tries them."""
    with writing(load(DatabaseSettings)) as engine:
        found = _choose(engine, chosen)
        left_out = len(found.without_arguments)
        number = len(found.refused_ids) - left_out
        if left_out and not as_json:
            say(f"{_messages(left_out)} skipped: the arguments are not kept any more.")
        if number and not yes:
            _ask(f"Retry {_messages(number)}?")
        done = by_hand.retry(engine, found.refused_ids) if number else 0
    if as_json:
        print_json({"retried": done, "without_arguments": list(found.without_arguments)})
    elif done:
        say(f"{_messages(done)} due now; see `session-worker refused list`.")
    elif not left_out:
        say("No refused messages match; nothing is retried.")


def drop(chosen: RefusedFilter, *, yes: bool, as_json: bool) -> None:
    """End messages for good."""
    with writing(load(DatabaseSettings)) as engine:
        found = _choose(engine, chosen)
        number = len(found.refused_ids)
        if number and not yes:
            _ask(f"Drop {_messages(number)} for good?")
        done = by_hand.drop(engine, found.refused_ids) if number else 0
    if as_json:
        print_json({"dropped": done})
    elif done:
        say(f"{_messages(done)} dropped.")
    else:
        say("No refused messages match; nothing is dropped.")


def confirmations(*, limit: int, as_json: bool) -> None:
    """List orders confirmed for sessions that nobody tracked within a day."""
    with reports(RefusedReports) as opened:
        rows = opened.unmatched_confirmations(limit=limit)
    if as_json:
        print_json(rows)
        return
    print_rows("Confirmed, not tracked for over a day", rows, none="none")
    if rows:
        say("Is the id right? `session-worker track ID` tracks it, and applies the confirmation.")


def _choose(engine: Engine, chosen: RefusedFilter) -> by_hand.Chosen:
    """Return what matches; ends the command where nothing is named, or an id is unknown."""
    if chosen == RefusedFilter():
        fail(
            "Name the messages by id, or by --waiting, --task or --field.",
            code=WRONG_USAGE,
        )
    found = by_hand.choose(engine, chosen)
    if missing := set(chosen.refused_ids or ()) - set(found.refused_ids):
        fail(_unknown(sorted(missing)))
    return found


def _decrypted(encrypted: bytes | None, settings: Settings) -> Any:  # noqa: ANN401 - JSON
    if encrypted is None:
        return None
    keys = [key.get_secret_value() for key in settings.token_encryption_keys]
    try:
        return json.loads(FernetTokenCipher(keys).decrypt(encrypted))
    except TokenUnreadableError:
        fail("TOKEN_ENCRYPTION_KEYS: no key decrypts the arguments of this message.")


def _unknown(refused_ids: Sequence[int]) -> str:
    some = ", ".join(map(str, refused_ids[:3]))
    return (
        f"There is no such refused message: {some}; "
        "`session-worker refused list` lists those that are not resolved."
    )


def _messages(number: int) -> str:
    return counted(number, "refused message")


def _ask(question: str) -> None:
    typer.confirm(question, abort=True, err=True)


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["refused_id"],
        "received_at": row["received_at"],
        "task": row["task"].removeprefix(_PREFIX),
        "why": f"{row['field']}: {row['reason']}",
        "session_id": row["session_id"],
        "reference": row["reference"],
        "attempts": row["attempts"],
        "state": _state(row),
    }


def _state(row: dict[str, Any]) -> str:
    if row["resolved_at"]:
        return f"{row['resolution']} {text(row['resolved_at'])}"
    if row["waits_for_person"]:
        return "waits for a person"
    return f"next try {text(row['next_try_at'])}"
