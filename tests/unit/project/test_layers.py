"""The domain is pure: what import-linter can only list, looked at import by import."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

DOMAIN = Path(__file__).parents[3] / "worker" / "domain"


def _imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", sorted(DOMAIN.glob("**/*.py")), ids=lambda f: f.name)
def test_the_domain_imports_itself_and_the_standard_library(file: Path):
    foreign = {
        name
        for name in _imported(file)
        if not name.startswith("worker.domain.")
        and name.partition(".")[0] not in sys.stdlib_module_names
    }

    assert not foreign
