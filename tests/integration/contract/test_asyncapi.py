"""The AsyncAPI document, by AsyncAPI's own parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.node_projects import NODE, ROOT, installed

DOCUMENT = ROOT / "docs" / "asyncapi.json"


@pytest.fixture(scope="module")
def parser() -> Path:
    return installed(ROOT / "tests" / "support" / "asyncapi")


def _parsed(parser: Path, document: Path) -> subprocess.CompletedProcess[str]:
    command = [NODE, "validate.mjs", document]
    return subprocess.run(
        command, cwd=parser, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_document_is_valid(parser: Path):
    parsed = _parsed(parser, DOCUMENT)

    assert (parsed.returncode, parsed.stdout, parsed.stderr) == (0, "", "")


def test_a_document_that_is_not_is_refused(parser: Path, tmp_path: Path):
    document = json.loads(DOCUMENT.read_text())
    document["components"]["messages"]["Track"]["payload"]["maxItems"] = "three"
    wrong = tmp_path / "asyncapi.json"
    wrong.write_text(json.dumps(document))

    parsed = _parsed(parser, wrong)

    assert parsed.returncode == 1
    assert "components/messages/Track/payload/maxItems: " in parsed.stdout
