"""Options and arguments that several commands share.

Commands take one parameter for each option, so typer's functions may have more than six. They
import what they need when they run, which keeps `--help` fast.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
SessionId = Annotated[str, typer.Argument(help="Klarna's payment session id.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of rows.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
# 0 is any free one.
Port = partial(typer.Option, min=0, max=65_535)
