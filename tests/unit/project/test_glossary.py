"""docs/glossary.md: every row of "Where is what" leads to a file, and to a name in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

GLOSSARY = Path(__file__).parents[3] / "docs" / "glossary.md"
ROW = re.compile(
    r"\| (?P<question>[^|]+\?) \| \[(?P<text>\S+)\]\((?P<link>\S+)\) \| (?P<names>.+) \|"
)


class Row(NamedTuple):
    """A question, and where in the code its answer is."""

    question: str
    text: str
    link: str
    names: list[str]


def rows(page: str) -> list[Row]:
    section = page.partition("\n## Where is what\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    found = [ROW.fullmatch(line) for line in lines if not re.match(r"\|( question |---)", line)]
    assert None not in found, lines[found.index(None)]
    return [
        Row(row["question"], row["text"], row["link"], re.findall(r"`([^`]+)`", row["names"]))
        for row in found
        if row
    ]


def fault_of(row: Row, folder: Path) -> str | None:
    """Return what is wrong with a row, or None."""
    file = folder / row.link
    if not file.is_file():
        return f"{row.link} is no file"
    if row.link.removeprefix("../") != row.text:
        return f"{row.text} leads to {row.link}"
    missing = [name for name in row.names if not has(file, name)]
    if missing or not row.names:
        return f"{row.text} has no {', '.join(missing) or 'name'}"
    return None


def has(file: Path, name: str) -> bool:
    """Whether a file defines `name`, or `Class.method`; what is not Python contains the text."""
    if file.suffix != ".py":
        return name in file.read_text()
    owner, _, member = name.partition(".")
    for node in ast.parse(file.read_text()).body:
        if owner in defined(node):
            members = getattr(node, "body", [])
            return not member or any(member in defined(each) for each in members)
    return False


def defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


@pytest.mark.parametrize("row", rows(GLOSSARY.read_text()), ids=lambda row: row.question)
def test_every_question_leads_to_a_name_in_a_file(row: Row):
    assert fault_of(row, GLOSSARY.parent) is None


def test_no_question_is_asked_twice_and_there_are_many():
    questions = [row.question for row in rows(GLOSSARY.read_text())]

    assert len(questions) == len(set(questions))
    assert len(questions) >= 37


@pytest.mark.parametrize(
    ("link", "name", "fault"),
    [
        ("code.py", "now", None),
        ("code.py", "Clock.tick", None),
        ("code.py", "LIMIT", None),
        ("notes.toml", "tool.thing", None),
        ("gone.py", "now", "gone.py is no file"),
        ("code.py", "then", "code.py has no then"),
        ("code.py", "tick", "code.py has no tick"),
        ("code.py", "Clock.tock", "code.py has no Clock.tock"),
        ("notes.toml", "tool.other", "notes.toml has no tool.other"),
    ],
)
def test_a_wrong_row_is_found(tmp_path: Path, link: str, name: str, fault: str | None):
    code = "LIMIT: int = 1\nclass Clock:\n    def tick(self): ...\ndef now(): ...\n"
    (tmp_path / "code.py").write_text(code)
    (tmp_path / "notes.toml").write_text("[tool.thing]\n")

    assert fault_of(Row("Where?", link, link, [name]), tmp_path) == fault
