"""A deployment for each test; the test starts what it needs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: Path) -> Iterator[Deployment]:
    with deploy(environment, tmp_path) as deployed:
        yield deployed
