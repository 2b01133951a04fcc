"""Flower without a login would show and control everything for everybody: it does not start so."""

from __future__ import annotations

import os
import sys

import click


def refuse_open_flower(**_: object) -> None:
    """End the Flower command where nobody would have to log in; leave all others alone.

    To be called when Flower has read its options, from wherever they came. Flower's own variable
    FLOWER_UNAUTHENTICATED_API opens it on purpose, such as behind a proxy that asks for a login.
    """
    command = click.get_current_context(silent=True)
    if command is None or command.info_name != "flower":
        return
    from flower.utils import strtobool  # noqa: PLC0415 - only the Flower command needs it
    from tornado.options import options  # noqa: PLC0415 - likewise

    if options.auth or strtobool(os.environ.get("FLOWER_UNAUTHENTICATED_API") or "false"):
        return
    logins = [login.partition(":") for login in options.basic_auth or []]
    if not logins or not all(user and password for user, _, password in logins):
        sys.stderr.write("Wrong settings:\n  FLOWER_BASIC_AUTH: must be user:password\n")
        raise SystemExit(2)
