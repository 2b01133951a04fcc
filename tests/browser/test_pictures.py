"""The pictures of the documentation: what README and docs/operations.md show is what there is."""

from __future__ import annotations

from pathlib import Path

from tests.support.browser import Browser
from tests.support.console import LOGIN, console
from tests.support.console_data import LAPSED, PAID, add_console_data
from tests.support.stored import Stored

SIZE = (1040, 760)


def test_they_are_taken_anew(database_url: str, window: Browser, tmp_path: Path):
    """Among the artefacts, named as in docs/: copy them there when the pages change."""
    stored = Stored(database_url)
    add_console_data(stored, shown_text="Service Unavailable")
    stored.close()
    with console({"DATABASE_URL": database_url}, tmp_path / "console.log") as origin:
        window.origin = origin
        window.log_in(LOGIN)
        window.resize(SIZE)
        for name, path, expected in (
            ("console-overview", "/", LAPSED),
            ("console-session", f"/sessions/{PAID}", "History"),
        ):
            assert expected in window.open(path)
            assert (Path(__file__).parents[2] / "docs" / f"{name}.png").exists()
            assert window.screenshot(f"docs-{name}", whole=False).stat().st_size > 10_000
