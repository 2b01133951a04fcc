"""Documents: every link resolves, every command that they name exists, prose is wrapped."""

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
WIDTH = 120
# A row of a table, or a link and nothing else but its bullet and what ends the sentence.
UNBREAKABLE = re.compile(r"\s*(\||(([-*]|\d+\.) )?!?\[[^\]]*\]\(\S+\)\S*$)")
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


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_prose_is_wrapped(page: Path):
    assert too_long(page.read_text()) == []


def test_tables_code_and_links_may_be_longer_than_prose():
    long = "word " * WIDTH
    link = f"[name](https://example.com/{'x' * WIDTH})"

    assert too_long(f"short\n| {long} |\n  | {long} |\n") == []
    assert too_long(f"```\n{long}\n```\n1. Step:\n\n   ```sh\n   {long}\n   ```\n") == []
    assert too_long(f"{link}\n- {link}.\n") == []
    assert too_long(f"```\n```\n{long}\n") == [f"3: {long}"]
    assert too_long(f"- see {link}\n") == [f"1: - see {link}"]
    assert too_long(f"{'å' * WIDTH}\n{'å' * (WIDTH + 1)}") == [f"2: {'å' * (WIDTH + 1)}"]


def too_long(text: str) -> list[str]:
    """Return the lines of prose, with their numbers, that are wider than WIDTH.

    Tables, fenced code, and a link that stands alone on its line cannot be wrapped.
    """
    found, in_code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and len(line) > WIDTH and not UNBREAKABLE.match(line):
            found.append(f"{number}: {line}")
    return found
