"""docs/quickstart.md, block by block, with the stand-in where the playground would be."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.processes import BIN
from worker.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()
PROGRAMS = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SET_UP, SETTINGS, UP, CHECK, CREATE, TRACK, LOOK, NUDGE, SEE, CONFIRM = re.findall(
    r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
# What a newcomer's machine has; no setting of ours.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
PATIENT_SECONDS = 60


def test_the_page_leads_from_nothing_to_an_authorized_payment(
    temporary: Path, sandbox: SandboxClient
):
    """Setting up is what .ci/run begins with."""
    assert os.access(ROOT / SET_UP.split()[0], os.X_OK)
    (temporary / ".venv").symlink_to(BIN.parent)
    sandbox.set_default_script(steps=[[0, "WAITING"]], expires_in=900)

    run(temporary, SETTINGS)
    fill_in(temporary, sandbox.url)
    for name, program in PROGRAMS.items():
        (temporary / name).write_text(program)
    with up(temporary):
        told = run(temporary, CHECK)
        assert all(line.startswith("ok ") for line in told.splitlines()), told
        assert "Pay at http" in run(temporary, CREATE)
        run(temporary, TRACK)
        shown(temporary, LOOK, "WAITING", "quickstart-1")
        sandbox.set_status((temporary / "session-id").read_text(), "COMPLETED")
        run(temporary, NUDGE)
        shown(temporary, SEE, "COMPLETED", "authorized", "redis_stream")
        run(temporary, CONFIRM)


def fill_in(folder: Path, klarna_url: str) -> None:
    """As the reader does in step 2; only the stand-in's address has to be allowed besides."""
    env_file = folder / ".env"
    filled = env_file.read_text().replace("USERNAME=", f"USERNAME={DEFAULT_USERNAME}")
    filled = filled.replace("PASSWORD=", f"PASSWORD={DEFAULT_PASSWORD}")
    filled = filled.replace("https://api.playground.klarna.com", klarna_url)
    env_file.write_text(f"{filled}KLARNA_ALLOWED_ORIGINS={klarna_url}\n")


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
    """Run a block again, as a reader who is ahead of the worker does, until it shows this."""
    eventually(
        lambda: not [word for word in words if word not in ask(folder, block).stdout],
        within=PATIENT_SECONDS,
        because=f"{words} are shown by {block}",
    )


def run(folder: Path, block: str) -> str:
    """Run a block in the second terminal; answers what it printed."""
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
