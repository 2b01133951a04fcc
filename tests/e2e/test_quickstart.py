"""docs/quickstart.md, block by block, with the mock Klarna server instead of the playground."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devkit.sandbox.server import SandboxClient
from tests.support.eventually import eventually
from tests.support.processes import BIN
from worker.commands.local_app import sandbox as serve_mock

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()
PROGRAMS = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SET_UP, PLAYGROUND, STAND_IN, UP, CHECK, CREATE, TRACK, LOOK, PAY, NUDGE, SEE, CONFIRM = re.findall(
    r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
# Where the page has the mock Klarna server; the test's is elsewhere.
WRITTEN = f"http://127.0.0.1:{inspect.signature(serve_mock).parameters['port'].default}"
# What a newcomer's machine has; no setting of ours.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
PATIENT_SECONDS = 60


def test_the_page_leads_from_nothing_to_an_authorized_payment(
    temporary: Path, sandbox: SandboxClient
):
    """Setting up is a section of .ci/run."""
    assert os.access(ROOT / SET_UP.split()[0], os.X_OK)
    (temporary / ".venv").symlink_to(BIN.parent)

    run(temporary, PLAYGROUND)
    assert {"KLARNA_USERNAME", "KLARNA_PASSWORD"} == empty_lines(temporary)
    assert STAND_IN.count(WRITTEN) == 2
    assert PAY.count(WRITTEN) == 1
    run(temporary, STAND_IN.replace(WRITTEN, sandbox.url))
    for name, program in PROGRAMS.items():
        (temporary / name).write_text(program)
    with up(temporary):
        output = run(temporary, CHECK)
        assert all(line.startswith("ok ") for line in output.splitlines()), output
        assert "Pay at http" in run(temporary, CREATE)
        run(temporary, TRACK)
        shown(temporary, LOOK, "WAITING", "quickstart-1")
        run(temporary, PAY.replace(WRITTEN, sandbox.url))
        run(temporary, NUDGE)
        shown(temporary, SEE, "COMPLETED", "authorized", "redis_stream")
        run(temporary, CONFIRM)


def empty_lines(folder: Path) -> set[str]:
    """What a reader with credentials fills in."""
    lines = (folder / ".env").read_text().splitlines()
    return {line.removesuffix("=") for line in lines if line.endswith("=")}


@contextmanager
def up(folder: Path) -> Iterator[None]:
    """The first terminal, with free ports where the page has fixed ones."""
    log = folder / "up.log"
    command = f"{UP.strip()} --flower-port 0 --console-port 0"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-ec", f". .venv/bin/activate\nexec {command}"],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: " ready." in log.read_text(), within=PATIENT_SECONDS, because=str(log))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()


def shown(folder: Path, block: str, *words: str) -> None:
    """Run a block until it shows this, as a reader does."""
    eventually(
        lambda: not [word for word in words if word not in ask(folder, block).stdout],
        within=PATIENT_SECONDS,
        because=f"{words} are shown by {block}",
    )


def run(folder: Path, block: str) -> str:
    """Run a block in the second terminal; return its output."""
    ran = ask(folder, block)
    assert ran.returncode == 0, f"{block}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def ask(folder: Path, block: str) -> subprocess.CompletedProcess[str]:
    """Run a block, right or wrong."""
    return subprocess.run(
        ["bash", "-ec", f". .venv/bin/activate\n{block}"],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
