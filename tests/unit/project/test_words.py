"""Names of the private dialect that this project once had: none of them is an identifier any more.

The glossary (docs/glossary.md) has the words that replaced them. Comments and texts are not read
here, nor are names of columns, which stay.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("worker", "devkit", "config", "benchmarks")

# Wrong wherever they stand; a leading underscore makes no difference.
ANYWHERE = (
    *("Allowance", "CarefulConsumer", "Fate", "FaultBook", "Followed", "Grant", "Grouping"),
    *("HeldReplies", "HeldReply", "LossySink", "NEED_NOT_BE_DURABLE", "OWN_SERVER"),
    *("Patience", "PaymentNotes", "SILENT", "SPOKEN_MEANWHILE", "ScrubbedRequest", "StandIn"),
    *("Strain", "TOLD", "UNTRACED", "Way", "died", "emptied", "fate_of", "gather_seconds"),
    *("is_whole", "own_only", "own_server", "record_loudly", "send_again", "strain"),
    *("take_whole", "told", "unordered", "unpaid", "until_done", "untold"),
)
# Right words elsewhere: wrong in these folders or files.
WITHIN = {
    "Background": ("worker",),
    "Governor": ("worker",),
    "Group": ("worker/services",),
    "Guard": ("devkit/embedded",),
    "GuardOrder": ("devkit/embedded",),
    "GuardProcess": ("devkit/embedded",),
    "Lane": ("worker/services",),
    "Loud": ("worker",),
    "Place": ("devkit/embedded",),
    "Rewrite": ("devkit/sandbox",),
    "Scene": ("benchmarks",),
    "Screen": ("devkit/demo",),
    "Stage": ("benchmarks", "devkit/demo"),
    "drop": ("worker/adapters/shop_systems",),
    "generation": ("worker/adapters", "worker/services"),
    "least": ("worker/domain", "worker/services", "benchmarks/governor.py"),
    "look": ("worker",),
    "over": ("devkit/simulation/em_estimation.py",),
    "paid": ("worker/adapters/redis", "worker/domain", "worker/services"),
    "pays": ("worker/adapters/redis", "worker/domain", "worker/services"),
    "places": ("worker/services",),
    "play": ("devkit/demo", "devkit/sandbox"),
    "quiet": ("worker",),
    "remember": ("worker/services",),
    "room": ("worker/adapters", "worker/domain", "worker/services", "benchmarks"),
    "scene": ("benchmarks",),
    "shut": ("worker",),
    # Spent tokens of housekeeping are the usual word.
    "spent": ("worker/domain", "worker/services/governor.py", "benchmarks/governor.py"),
    "stage": ("benchmarks", "devkit/demo"),
    # Elsewhere it is the column.
    "stretch": ("worker/domain", "worker/services", "benchmarks"),
    "sudden": ("devkit/simulation/em_estimation.py",),
    "take": ("worker/adapters/redis", "worker/domain", "worker/services"),
    "taken": ("worker/adapters/shop_systems",),
}
# Members of a class, where the class defines them or an object of its name has them.
MEMBERS = {
    "Meter": {"asked", "answered", "changed"},
    "Refusal": {"FINAL", "HOLD"},
}
MODULES = {
    "benchmarks": {"among", "lag"},
    "devkit/demo": {"leaks", "play", "screen", "stage"},
    "devkit/embedded": {"guard", "kernel", "place"},
    "devkit/sandbox": {"fault_book", "holds", "placing", "rewrites"},
    "devkit/simulation": {"schedules", "spells", "unseen", "weights"},
    "worker": {
        *("backlog_watch", "grouping", "lanes", "loop_watch", "order_placed", "patience", "pooler"),
        *("progress", "shown_arguments"),
    },
    "worker/adapters/postgres": {"faults"},
}


def names_in(tree: ast.AST) -> Iterator[str]:
    """Every identifier of a module: what it defines, names, imports, takes and passes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)):
                yield name
            case ast.alias(name=name, asname=other):
                yield from (*name.split("."), *([other] if other else []))
            case ast.ImportFrom(module=str(name)):
                yield from name.split(".")


def members_in(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Pairs of a class or object and its member: defined in its body, or named after a dot."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=member):
                yield owner, member
            case ast.ClassDef(name=owner, body=body):
                for name in (n for statement in body for n in names_in_head(statement)):
                    yield owner, name


def names_in_head(statement: ast.stmt) -> list[str]:
    """What one statement of a class body defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


@cache
def trees() -> dict[str, ast.Module]:
    """Every module by its path from the root."""
    return {
        str(file.relative_to(ROOT)): ast.parse(file.read_text())
        for folder in FOLDERS
        for file in sorted((ROOT / folder).rglob("*.py"))
    }


def is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def users_of(word: str, *folders: str) -> list[str]:
    """The modules that have this identifier."""
    return [
        path
        for path, tree in trees().items()
        if any(is_within(path, folder) for folder in folders)
        and any(name.lstrip("_") == word for name in names_in(tree))
    ]


@pytest.mark.parametrize("word", ANYWHERE)
def test_no_identifier_is_a_word_of_the_dialect(word: str):
    assert users_of(word, *FOLDERS) == []


@pytest.mark.parametrize("word", WITHIN)
def test_no_identifier_uses_a_common_word_in_the_dialects_sense(word: str):
    assert all((ROOT / folder).exists() for folder in WITHIN[word])
    assert users_of(word, *WITHIN[word]) == []


@pytest.mark.parametrize("owner", MEMBERS)
def test_no_class_has_a_member_of_the_dialect(owner: str):
    """Of this class, or of one whose name ends with its."""
    found = [
        f"{path}: {named}.{member}"
        for path, tree in trees().items()
        for named, member in members_in(tree)
        if named.lower().endswith(owner.lower()) and member in MEMBERS[owner]
    ]

    assert found == []


@pytest.mark.parametrize("folder", MODULES)
def test_no_module_has_a_name_of_the_dialect(folder: str):
    assert (ROOT / folder).is_dir()
    names = {path for path in trees() if is_within(path, folder)}
    packages = {str(Path(path).parent) for path in names}

    assert [path for path in sorted(names | packages) if Path(path).stem in MODULES[folder]] == []


def test_every_kind_of_identifier_is_looked_at():
    source = """
import a.b as c
from d.e import f
class G(h):
    i: int
    j = 1
    def k(self, l, *, m): n = o.p(q=r)
"""
    tree = ast.parse(source)

    assert set("abcdefGhklmnopqr") <= set(names_in(tree))
    assert {("G", "i"), ("G", "j"), ("G", "k"), ("o", "p")} == set(members_in(tree))
