"""The two distributions as wheels: what each holds, and what the first says where it is alone."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
MODULE_FOLDERS = {"config", "migrations", "worker"}
# Isolated and without `site`: neither the working directory nor the editable install is on the
# path, only what a test puts there.
_PROGRAM = """
import sys
sys.path[:0] = sys.argv.pop(1).split(":")
from worker.cli import main
main()
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both distributions, built from this checkout and unpacked; by the name of their package."""
    unpacked = {}
    for package, project in (("worker", ROOT), ("devkit", ROOT / "devkit")):
        built = tmp_path_factory.mktemp(package)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
        (wheel,) = built.glob("*.whl")
        unpacked[package] = built / "unpacked"
        zipfile.ZipFile(wheel).extractall(unpacked[package])
    return unpacked


def command_of(*paths: Path) -> list[str]:
    """`session-worker` where only these folders and third-party packages are importable."""
    third_party = sysconfig.get_path("purelib")
    path = ":".join([*map(str, paths), third_party])
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, path]


def packages_in(wheel: Path) -> set[str]:
    return {folder.name for folder in wheel.iterdir() if folder.suffix != ".dist-info"}


def test_the_first_wheel_holds_what_production_runs(wheels: dict[str, Path]):
    assert packages_in(wheels["worker"]) == MODULE_FOLDERS


def test_the_devkit_wheel_holds_every_module_of_the_devkit_and_no_other_file(
    wheels: dict[str, Path],
):
    source = {file.relative_to(ROOT) for file in (ROOT / "devkit").rglob("*.py")}
    packed = {
        file.relative_to(wheels["devkit"])
        for file in (wheels["devkit"] / "devkit").rglob("*")
        if file.is_file()
    }

    assert packages_in(wheels["devkit"]) == {"devkit"}
    assert packed == source


@pytest.mark.parametrize(
    ("command", "extras"),
    [
        (["sandbox"], "sandbox"),
        (["demo"], "console,embedded,sandbox"),
        (["up"], "console,embedded"),
        (["simulate"], "analysis"),
        (["policy", "fit", "--out", "policy.jsonl"], "analysis"),
        (["policy", "traces", "--out", "traces.jsonl"], "analysis"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_without_the_devkit_its_commands_say_what_to_install(
    wheels: dict[str, Path], tmp_path: Path, command: list[str], extras: str
):
    ended = subprocess.run(
        [*command_of(wheels["worker"]), *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = ended.stdout + ended.stderr

    assert ended.returncode == 1, said
    assert len(said.splitlines()) == 1
    assert f"pip install 'klarna-session-worker[{extras}]'" in said


def test_with_both_wheels_the_mock_klarna_server_runs(wheels: dict[str, Path], tmp_path: Path):
    with subprocess.Popen(
        [*command_of(wheels["worker"], wheels["devkit"]), "sandbox", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            origin = process.stdout.readline().strip()

            assert httpx.get(f"{origin}/_sandbox/health").json() == {"status": "ok"}
        finally:
            process.terminate()
