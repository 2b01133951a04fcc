"""Refuses to start Flower without a login: it shows and controls everything.

Also sets the columns of Flower's list of tasks, where no option sets them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

# Flower's default. It hides the arguments, and so the payment session ids that people look for.
_DEFAULT_COLUMNS = "name,uuid,state,received,runtime,worker"
TASK_COLUMNS = "name,args,state,received,runtime,uuid"
_OAUTH = ("oauth2_key", "oauth2_secret", "oauth2_redirect_uri")


def refuse_open_flower(*, faults: Sequence[str] = (), **_: object) -> None:
    """End the Flower command where no login is set; other commands go on.

    Called when Flower has read its options, whatever their source. Flower's own variable
    FLOWER_UNAUTHENTICATED_API allows it without a login, such as behind a proxy that asks for one.
    `faults` are those of its secrets' files.
    """
    options = _flower_options()
    if options is None:
        return
    if found := list(faults) or list(_faults(options, os.environ)):
        sys.stderr.write("Invalid settings:\n" + "".join(f"  {fault}\n" for fault in found))
        raise SystemExit(2)


def show_session_ids(**_: object) -> None:
    """Show the payment session ids in Flower's list of tasks; called when it has its options."""
    options = _flower_options()
    if options is not None and options.tasks_columns == _DEFAULT_COLUMNS:
        options.tasks_columns = TASK_COLUMNS


def _flower_options() -> Any | None:  # noqa: ANN401 - tornado is untyped
    command = click.get_current_context(silent=True)
    if command is None or command.info_name != "flower":
        return None
    from tornado.options import options  # noqa: PLC0415 - only the Flower command needs it

    return options


def _faults(options: Any, environment: Mapping[str, str]) -> Iterator[str]:  # noqa: ANN401 - tornado is untyped
    from flower.utils import strtobool  # noqa: PLC0415 - only the Flower command needs it

    if options.auth:
        yield from _oauth_faults(options)
        return
    if strtobool(environment.get("FLOWER_UNAUTHENTICATED_API") or "false"):
        return
    logins = [login.partition(":") for login in options.basic_auth or []]
    if not logins or not all(user and password for user, _, password in logins):
        yield "FLOWER_BASIC_AUTH: must be user:password"


def _oauth_faults(options: Any) -> Iterator[str]:  # noqa: ANN401 - tornado is untyped
    """With any of these missing nobody could log in."""
    if not options.auth_provider:
        example = "flower.views.auth.GoogleAuth2LoginHandler"
        yield f"FLOWER_AUTH_PROVIDER: is missing although FLOWER_AUTH is set, such as {example}"
    for name in _OAUTH:
        if not getattr(options, name):
            yield f"FLOWER_{name.upper()}: is missing although FLOWER_AUTH is set"
