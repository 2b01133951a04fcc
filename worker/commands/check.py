"""check: is everything that a deployment needs there, and correct?"""

from __future__ import annotations

from collections.abc import Iterator

from config.settings import InvalidSettingsError, Settings, parse
from worker.bootstrap.shared import poll_policy
from worker.commands.checked_environment import check_spelling
from worker.commands.checked_klarna import account_probes
from worker.commands.checked_lists import check_unread_lists
from worker.commands.checked_postgres import check_postgres
from worker.commands.checked_redis import check_broker, check_redis
from worker.commands.checked_sinks import sink_probes
from worker.commands.findings import Finding, exit_code, print_finding, print_findings
from worker.commands.output import WRONG_USAGE
from worker.commands.probes import Probe, run_probes


def check(*, as_json: bool) -> int:
    """Check everything, print each line once it is known and return the exit code."""
    try:
        settings = parse(Settings)
        policy = poll_policy(settings)
    except InvalidSettingsError as error:
        faults = [Finding("settings", fault=fault) for fault in error.faults]
        print_findings([*faults, *check_spelling()], as_json=as_json)
        return WRONG_USAGE
    is_default = settings.poll_policy_file is None
    known = [
        Finding("settings", detail="valid"),
        *check_spelling(),
        Finding("polling policy", detail="default" if is_default else policy.name),
    ]
    if as_json:
        findings = [*known, *run_probes(list(_probes(settings)))]
        print_findings(findings, as_json=True)
        return exit_code(findings)
    print_findings(known, as_json=False)
    found = run_probes(list(_probes(settings)), on_found=print_finding)
    return exit_code(found)


def _probes(settings: Settings) -> Iterator[Probe]:
    yield Probe("postgres", lambda: check_postgres(settings))
    yield Probe("redis", lambda: check_redis(settings))
    yield Probe("broker", lambda: [check_broker(settings)])
    yield Probe("lists", lambda: check_unread_lists(settings))
    yield from account_probes(settings)
    yield from sink_probes(settings)
