"""`python -m worker.contract docs`: writes the published documents; `--check` only compares."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from worker.contract.document import asyncapi
from worker.contract.events import EVENTS, type_of
from worker.contract.log_events import log_event_table
from worker.contract.metrics import metric_table
from worker.contract.page import page
from worker.contract.schemas import schema_of

# The page whose tables of log events and metrics are written between markers.
OPERATIONS = Path("operations.md")
_BEGIN = "<!-- {name}: written by `python -m worker.contract docs` -->"
_END = "<!-- end of {name} -->"


def documents(folder: Path) -> dict[Path, str]:
    """Return every document by its path below the folder.

    Raises:
        ValueError: the folder's operations.md lacks a marker.
    """
    document = asyncapi()
    made = {Path("asyncapi.json"): _json(document), Path("asyncapi.md"): page(document)}
    for event in EVENTS:
        made[Path("schemas") / f"{type_of(event)}.json"] = _json(schema_of(event))
    if (text := _text(folder / OPERATIONS)) is not None:
        text = _replaced(text, "log events", log_event_table())
        made[OPERATIONS] = _replaced(text, "metrics", metric_table())
    return made


def outdated(folder: Path) -> list[Path]:
    """Return the documents that are missing, differ, or do not belong to the contract any more."""
    made = documents(folder)
    differing = [path for path, text in made.items() if _text(folder / path) != text]
    present = (path.relative_to(folder) for path in (folder / "schemas").glob("*"))
    return differing + [path for path in present if path not in made]


def main() -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.contract", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the documents are, such as docs")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if any differs")
    arguments = parser.parse_args()
    if arguments.check:
        differing = outdated(arguments.folder)
        sys.stdout.writelines(f"not up to date: {path}\n" for path in differing)
        return 1 if differing else 0
    for path, text in documents(arguments.folder).items():
        (arguments.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (arguments.folder / path).write_text(text)
    return 0


def _replaced(text: str, name: str, table: str) -> str:
    """Return the page with the table between the markers of that name."""
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"{OPERATIONS} lacks the marker {end if opened else begin}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _json(document: Any) -> str:  # noqa: ANN401 - any document
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
