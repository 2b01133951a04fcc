"""policy fit, policy traces: a policy file, or traces, from recorded status changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from config.settings import SHIPPED_POLICY, HistorySettings, PolicySettings, load
from devkit.simulation.baselines import by_policy
from devkit.simulation.replay import replay
from devkit.simulation.traces import Trace, evenly, read_traces, write_traces
from worker.adapters.json_lines import JsonLinesError
from worker.adapters.policy_file import read_policy, write_policy
from worker.commands.output import WRONG_USAGE, fail, print_json, print_rows, say
from worker.commands.reading import database_faults_in_one_line
from worker.domain.policy import PollPolicy

if TYPE_CHECKING:
    # These need the extra `analysis`: imported where they are used, after it was looked for.
    from devkit.simulation.sojourns import Sojourns
    from worker.adapters.postgres.reports.history import History

T = TypeVar("T")

# At most so many sessions are fitted to, and so many replayed to compare.
_LIVES = 20_000
_REPLAYED = 1_000


def fit(*, out: Path, traces: Path | None, prior: Path | None, as_json: bool) -> None:
    """Fit a policy, write it, and print the delays of it and of the one before."""
    _need_the_extra()
    from devkit.simulation.fitting import fit  # noqa: PLC0415 - needs the extra

    before = _or_wrong_usage(lambda: read_policy(prior or SHIPPED_POLICY))
    if traces:
        settings = load(PolicySettings)
        sojourns, lives = _of_file(traces)
    else:
        settings = load(HistorySettings)
        sojourns, lives = _of_database(settings)
    requests = settings.poll_requests_per_session
    try:
        fitted = fit(sojourns, lives, prior=before, requests=requests)
        rows = _compared(before, fitted, lives, requests=requests)
    except ValueError as error:
        fail(f"POLL_REQUESTS_PER_SESSION: {error}", code=WRONG_USAGE)
    _write(out, lambda: write_policy(out, fitted))
    if as_json:
        print_json({"policy_file": out, "stays": len(sojourns), "policies": rows})
        return
    print_rows(f"Replayed on {min(len(lives), _REPLAYED)} of the sessions", rows, none="nothing")
    say(f"Fitted to {len(sojourns)} stays in a status. Use it with POLL_POLICY_FILE={out}")


def write_recorded(*, out: Path, sessions: int, as_json: bool) -> None:
    """Write recorded sessions as traces."""
    _need_the_extra()
    from devkit.simulation.histories import traces_of_history  # noqa: PLC0415 - needs the extra

    history = _history(load(HistorySettings))
    lives = list(traces_of_history(history, most=sessions))
    if not lives:
        _nothing()
    _write(out, lambda: write_traces(out, lives))
    if as_json:
        print_json({"trace_file": out, "sessions": len(lives)})
        return
    say(f"Wrote {len(lives)} sessions to {out}: session-worker simulate --traces {out}")


def _of_file(path: Path) -> tuple[Sojourns, list[Trace]]:
    from devkit.simulation.sojourns import sojourns_of_traces  # noqa: PLC0415 - needs the extra

    lives = _or_wrong_usage(lambda: read_traces(path))
    return sojourns_of_traces(lives), evenly(lives, _LIVES)


def _of_database(settings: HistorySettings) -> tuple[Sojourns, list[Trace]]:
    from devkit.simulation import histories  # noqa: PLC0415 - needs the extra

    history = _history(settings)
    lives = list(histories.traces_of_history(history, most=_LIVES))
    if not lives:
        _nothing()
    return histories.sojourns_of_history(history), lives


def _history(settings: HistorySettings) -> History:
    from worker.adapters.postgres.reports.history import read_history  # noqa: PLC0415 - needs the extra

    with database_faults_in_one_line():
        return read_history(
            settings.database_url.get_secret_value(),
            reach=timedelta(days=settings.retention_days),
            max_lifetime=settings.poll_max_lifetime_seconds,
        )


def _compared(
    before: PollPolicy, fitted: PollPolicy, lives: Sequence[Trace], *, requests: float
) -> list[dict[str, Any]]:
    """Return a row for each policy; the one before also at the same number of requests."""
    from devkit.simulation.fitting import Lived  # noqa: PLC0415 - needs the extra

    as_many = Lived.of(lives, before.ages).scaled(before, requests)
    few = evenly(list(lives), _REPLAYED)
    return [
        _row("before", before.for_requests(requests), few),
        _row("before, at as many requests", as_many, few),
        _row("after", fitted.for_requests(requests), few),
    ]


def _row(name: str, policy: PollPolicy, lives: Sequence[Trace]) -> dict[str, Any]:
    replayed = replay(lives, by_policy(policy))
    return {
        "policy": name,
        "requests_per_session": replayed.requests_per_session,
        "mean_delay_seconds": replayed.mean_delay,
        "p50_seconds": replayed.percentile(50),
        "p95_seconds": replayed.percentile(95),
    }


def _need_the_extra() -> None:
    if find_spec("numpy") is None:
        fail("This command needs numpy: pip install 'klarna-session-worker[analysis]'.")


def _nothing() -> NoReturn:
    fail("No recorded payment session has ended yet: there is nothing to fit to.")


def _or_wrong_usage(read: Callable[[], T]) -> T:
    try:
        return read()
    except JsonLinesError as error:
        fail(str(error), code=WRONG_USAGE)


def _write(out: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        fail(f"--out: {out} cannot be written: {error.strerror}")
