"""The registry of log events is what the code logs, and what docs/operations.md says."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from worker.contract.log_events import LOG_EVENTS, LogEvent, log_event_table

ROOT = Path(__file__).parents[3]
SOURCES = [*sorted((ROOT / "worker").rglob("*.py")), *sorted((ROOT / "config").rglob("*.py"))]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
# What `**ids` may add to a line.
IDS = {"session_id", "correlation_id", "event_id", "sink", "account"}


@dataclass(frozen=True)
class Call:
    """One place that logs; `has_ids` where it passes `**ids`."""

    name: str
    level: str
    fields: frozenset[str]
    has_ids: bool
    has_traceback: bool
    place: str


def is_log_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    )


def log_calls(
    tree: ast.Module,
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, ast.Call]]:
    """Each call that logs, with the innermost function that it stands in."""
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for node in ast.walk(tree):
        if is_log_call(node):
            around = [each for each in functions if node in ast.walk(each)]
            yield min(around, key=lambda each: len(list(ast.walk(each)))), node


def keywords(node: ast.Call) -> set[str]:
    return {each.arg for each in node.keywords if each.arg is not None}


def passed_names(
    function: ast.FunctionDef | ast.AsyncFunctionDef, parameter: str
) -> Iterator[tuple[str, set[str]]]:
    """The texts that callers pass as `parameter`, with the other keywords of the call."""
    positional = [each.arg for each in function.args.args if each.arg != "self"]
    own = {*positional, *(each.arg for each in function.args.kwonlyargs)}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            called = getattr(node, "func", None)
            if not isinstance(node, ast.Call) or function.name not in {
                getattr(called, "attr", None),
                getattr(called, "id", None),
            }:
                continue
            given = dict(zip(positional, node.args, strict=False))
            given |= {each.arg: each.value for each in node.keywords if each.arg}
            text = given.get(parameter)
            assert isinstance(text, ast.Constant), f"{source}:{node.lineno}: a computed name"
            yield text.value, keywords(node) - own


def named_by(
    function: ast.FunctionDef | ast.AsyncFunctionDef, node: ast.Call, place: str
) -> Iterator[tuple[str, set[str]]]:
    """The names that a call logs, with the fields of each; a helper's callers name the event."""
    name = node.args[0]
    if isinstance(name, ast.Constant):
        yield name.value, keywords(node)
        return
    assert isinstance(name, ast.Name), f"{place}: a computed name"
    passes_on = any(each.arg is None for each in node.keywords)
    for passed, more in passed_names(function, name.id):
        yield passed, keywords(node) | (more if passes_on else set())


def calls() -> Iterator[Call]:
    """Every place of the product that logs an event."""
    for source in SOURCES:
        text = source.read_text()
        if "structlog.get_logger" not in text:
            continue
        for function, node in log_calls(ast.parse(text)):
            place = f"{source.relative_to(ROOT)}:{node.lineno}"
            for name, fields in named_by(function, node, place):
                yield Call(
                    name=name,
                    level="error" if node.func.attr == "exception" else node.func.attr,
                    fields=frozenset(fields),
                    has_ids=any(each.arg is None for each in node.keywords),
                    has_traceback=node.func.attr == "exception",
                    place=place,
                )


CALLS = list(calls())
BY_NAME: dict[str, list[Call]] = defaultdict(list)
for each in CALLS:
    BY_NAME[each.name].append(each)


def test_the_registry_has_every_event_that_the_code_logs_and_no_other():
    assert len(CALLS) > 40
    assert {event.name for event in LOG_EVENTS} == set(BY_NAME)


def test_no_name_is_registered_twice():
    assert [name for name, n in Counter(e.name for e in LOG_EVENTS).items() if n > 1] == []


@pytest.mark.parametrize("event", LOG_EVENTS, ids=lambda event: event.name)
def test_an_event_has_one_level_and_the_fields_registered(event: LogEvent):
    """A call may leave a field out; all of its calls together have each."""
    logged = BY_NAME[event.name]
    named = {field for call in logged for field in call.fields}
    missing = set(event.fields) - named

    assert {call.level for call in logged} == {event.level}, [call.place for call in logged]
    assert named <= set(event.fields)
    assert missing <= (IDS if any(call.has_ids for call in logged) else set())


def test_a_bug_has_a_name_of_its_own():
    """Logged with a traceback is a fault of this program; its name ends in `_crashed`."""
    crashed = {call.name for call in CALLS if call.has_traceback}

    assert crashed
    assert crashed == {event.name for event in LOG_EVENTS if event.name.endswith("_crashed")}
    assert not crashed & {call.name for call in CALLS if not call.has_traceback}


def test_the_page_has_the_table_of_the_registry():
    """`python -m worker.contract docs` writes it."""
    page = (ROOT / "docs" / "operations.md").read_text()

    assert log_event_table() in page
    assert page.count("| `tick_failed` |") == 1
