"""Documents lead somewhere: every link resolves, every command that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from worker.cli import app

ROOT = Path(__file__).parents[3]
ROOT_COMMAND = typer.main.get_command(app)
LEFT_OUT = {".venv", "node_modules", ".local", "artifacts"}
PAGES = sorted(
    page for page in ROOT.rglob("*.md") if not LEFT_OUT & set(page.relative_to(ROOT).parts)
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Where a link may lead to, as the forges that show these pages name it."""
    titles = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    plain = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_resolves(page: Path):
    """Those into this checkout, headings included; the world is not asked."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        led_to = (page.parent / path).resolve() if path else page

        assert led_to.exists(), target
        assert not anchor or anchor in anchors(led_to), target


def test_every_document_is_found_from_the_table_of_contents():
    contents = (ROOT / "docs" / "README.md").read_text()
    linked = {
        (ROOT / "docs" / target.partition("#")[0]).resolve()
        for target in re.findall(r"\]\(([^)]+)\)", contents)
    }

    assert {page for page in PAGES if page.parent == ROOT / "docs"} - linked == {
        ROOT / "docs" / "README.md"
    }


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_named_exists(page: Path):
    """`session-worker …` anywhere on a page: sub-commands and options are the program's."""
    for line in re.findall(
        r"(?:^|[`/ ])session-worker ([a-z][^`\n|]*)", page.read_text(), re.MULTILINE
    ):
        words, command = line.split(), ROOT_COMMAND
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {name for each in command.params for name in each.opts}
        used = {re.split(r"[=,.;:)]", word)[0] for word in words if word.startswith("--")}

        assert command is not ROOT_COMMAND, line
        assert used <= known | {"--help"}, line
