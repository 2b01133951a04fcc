"""A child process: started, waited for, stopped and killed. For the devkit, benchmarks and tests.

It imports nothing of `worker`.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from devkit.waiting import polls

# Programs of this virtual environment.
BIN = Path(sys.executable).parent
# What Celery's processes log once they are ready.
READY = {"worker": " ready.", "beat": "beat: Starting..."}
KILL_SECONDS = 10.0
PR_SET_PDEATHSIG = 1


class ChildEndedError(RuntimeError):
    """A child process ended before it was ready; `output` is what it wrote since its start."""

    def __init__(self, command: str, code: int | None, output: str) -> None:
        super().__init__(f"{command} ended with code {code}\n{output}")
        self.output = output


class ChildProcess:
    """A command in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Its output is appended to `log_file`, if one is given; `ready` is the text in it that says that
    the program is ready. With `ends_with_parent`, the kernel sends
    it `stop_signal` when the thread that started it ends (Linux). Other options are Popen's. It can
    be started again after `stop` or `kill`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log_file: Path | None = None,
        ready: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        ends_with_parent: bool = False,
        **options: Any,  # noqa: ANN401 - Popen's
    ) -> None:
        self._command = [str(part) for part in command]
        self._log_file = log_file
        self._ready = ready
        self._stop_signal = stop_signal
        self._options = {"stdin": subprocess.DEVNULL, "start_new_session": True} | options
        self._ends_with_parent = ends_with_parent
        self._process: subprocess.Popen[Any] | None = None
        self._log_begin = 0

    @property
    def process(self) -> subprocess.Popen[Any]:
        """The process, also after its end.

        Raises:
            RuntimeError: It was never started.
        """
        if self._process is None:
            raise RuntimeError(f"{self._command[0]} was not started")
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it; waits for nothing."""
        options = dict(self._options)
        if self._ends_with_parent:
            options["preexec_fn"] = _end_with_parent(self._stop_signal)
        if self._log_file is None:
            self._process = self._spawn(options)
            return self
        with self._log_file.open("ab") as log:
            self._log_begin = log.tell()
            self._process = self._spawn({"stdout": log, "stderr": subprocess.STDOUT} | options)
        return self

    def wait_until_ready(self, *, within: float = 60.0) -> None:
        """Wait until its log says that it is ready, since its last start.

        Raises:
            ChildEndedError: It ended before that.
            TimeoutError: It was not ready in time.
        """
        for _ in polls(within, pause=0.02):
            # In this order: what it wrote before its end is seen.
            has_ended = not self.is_running
            written = self._written()
            if self._ready in written:
                return
            if has_ended:
                raise ChildEndedError(self._command[0], self.process.returncode, written)
        raise TimeoutError(f"{self._command[0]} was not ready within {within:g} s")

    def log(self) -> str:
        """Everything that its log contains, of former starts too."""
        if self._log_file is None or not self._log_file.exists():
            return ""
        return self._log_file.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        self.process.send_signal(number)

    def stop(self, *, within: float = 30.0) -> int:
        """Ask it to end; kill it if it has not ended in that time. Return its exit code."""
        self.ask_to_end()
        return self.wait_for_end(within=within)

    def ask_to_end(self) -> None:
        """Close its standard input if that is a pipe; else send `stop_signal`."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        else:
            self.signal(self._stop_signal)
            # A process that is suspended handles no other signal.
            self.signal(signal.SIGCONT)

    def wait_for_end(self, *, within: float = 30.0) -> int:
        """Wait for its end, kill it if it does not come in time, and return its exit code."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(within)
        self.kill()
        return self.process.wait()

    def kill(self) -> None:
        """End it and the children in its process group at once."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(KILL_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.stop()

    def _spawn(self, options: dict[str, Any]) -> subprocess.Popen[Any]:
        return subprocess.Popen(self._command, **options)  # noqa: S603 - no shell

    def _written(self) -> str:
        if self._log_file is None:
            return ""
        return self._log_file.read_bytes()[self._log_begin :].decode(errors="replace")


def celery_command(app: str, *arguments: str) -> list[str]:
    """Return `celery -A app …` of this virtual environment."""
    return [str(BIN / "celery"), "-A", app, *arguments]


def pipe_of(pipe: IO[str] | None) -> IO[str]:
    """Return a standard stream that was asked for with `subprocess.PIPE`.

    Raises:
        RuntimeError: It is no pipe.
    """
    if pipe is None:
        raise RuntimeError("this stream of the child is no pipe")
    return pipe


def _end_with_parent(ending: signal.Signals) -> Callable[[], None] | None:
    """What a child calls before its program: the kernel sends it `ending` when this thread ends.

    Called after the change of account, which would undo it.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, int(ending))
        if os.getppid() != parent:
            os._exit(1)

    return arm
