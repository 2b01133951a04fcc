"""The simulation: reads and delays as they are counted, and schedules tuned to as many requests."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from config.settings import SHIPPED_POLICY
from devkit.simulation.baselines import by_policy, exponential
from devkit.simulation.comparison import compare, families
from devkit.simulation.population import draw
from devkit.simulation.read_values import effective_hazards
from devkit.simulation.replay import Read, replay
from devkit.simulation.traces import Trace, read_traces, write_traces
from devkit.simulation.tuning import calibrate
from tests.support.builders import POLICY
from worker.adapters.json_lines import JsonLinesError
from worker.adapters.policy_file import read_policy

PAID = Trace(3600.0, ((0.0, "WAITING"), (20.0, "IN_PROGRESS"), (65.0, "COMPLETED")))
ABANDONED = Trace(100.0, ((0.0, "WAITING"),))


def every_ten_seconds(read: Read) -> datetime:
    return min(read.now + timedelta(seconds=10), read.final_read_at)


def test_the_first_read_and_the_one_that_sees_the_end_are_counted():
    """At 0, 10, … 70 s: eight reads, and five seconds from COMPLETED to its read."""
    made = replay([PAID], every_ten_seconds)

    assert (made.requests, list(made.delays), made.never_seen) == (8, [5.0], 0)


def test_an_open_session_is_read_until_its_expiry_plus_grace():
    """At 0, 10, … 100 s and after 30 s of grace at 130 s: 14 reads, and no completion."""
    made = replay([ABANDONED], every_ten_seconds)

    assert (made.requests, list(made.delays), made.mean_delay) == (14, [], None)


def test_a_completion_whose_token_has_died_is_never_seen():
    """A token lives for an hour: after it nobody can place the order."""
    long = Trace(9000.0, PAID.statuses)

    made = replay([long], lambda read: read.final_read_at)

    assert (made.never_seen, made.never_seen_share) == (1, 1.0)


def test_the_same_seed_replays_the_same():
    """Jitter is drawn by the seed, too."""
    lives = draw("assumed", 50, seed=3)
    schedule = by_policy(POLICY)

    assert replay(lives, schedule) == replay(lives, schedule)
    assert replay(lives, schedule) != replay(lives, schedule, seed=2)


def test_a_policy_is_replayed_by_its_own_curve_and_the_age_of_the_status():
    """WAITING every 2 s in its first minute; then IN_PROGRESS begins with 2 s again."""
    life = Trace(9e4, ((0.0, "WAITING"), (50.0, "IN_PROGRESS"), (100.0, "COMPLETED")))

    made = replay([life], by_policy(POLICY))

    assert made.delays[0] < 2.2
    assert 45 < made.requests < 58


@pytest.mark.parametrize("population", ["assumed", "shifted"])
def test_a_population_is_the_same_for_the_same_seed_and_lives_in_order(population: str):
    """The shifted one is slower, and completes less often."""
    lives = draw(population, 2000, seed=1)

    assert lives == draw(population, 2000, seed=1) != draw(population, 2000, seed=2)
    for life in lives:
        times = [at for at, _ in life.statuses]
        assert times == sorted(times)
        assert times[-1] <= life.lifetime
    completed = sum(life.final_at is not None for life in lives) / len(lives)
    assert completed == pytest.approx({"assumed": 0.6, "shifted": 0.42}[population], abs=0.04)


def test_every_schedule_is_tuned_to_as_many_requests():
    """So that their delays may be compared; the policy's own is the least."""
    lives = draw("assumed", 300, seed=1)
    shipped = read_policy(SHIPPED_POLICY)

    rows = list(compare(families(shipped, lives), lives, [60]))

    assert len({row.schedule for row in rows}) == 6
    for row in rows:
        assert row.made.requests_per_session == pytest.approx(60, rel=0.02)
    ours, *others = (row.made.mean_delay for row in rows)
    assert ours < min(others)


def test_an_exponential_schedule_multiplies_its_interval_up_to_the_longest():
    """5, 10, 20, 40, 40, … seconds in the middle of the jitter."""
    schedule = exponential(2.0, 5.0, 40.0)
    read = Read("WAITING", *([datetime(2026, 1, 1)] * 2), datetime(2027, 1, 1), 1, 0.5)  # noqa: DTZ001

    waits = [schedule(replace(read, reads=reads)) - read.now for reads in (1, 2, 4, 5, 2000)]

    assert [wait.total_seconds() for wait in waits] == [5, 10, 40, 40, 40]


def test_a_calibration_says_what_a_scale_costs():
    """What `for_requests` makes of it takes as many requests when it is replayed."""
    lives = draw("assumed", 400, seed=1)
    policy = replace(POLICY, calibration=calibrate(POLICY, lives))

    made = replay(lives, by_policy(policy.for_requests(70)))

    assert made.requests_per_session == pytest.approx(70, rel=0.03)


# --- what reads are worth


def test_where_a_status_is_left_for_final_ones_only_their_rate_is_the_hazard():
    """The square-root law itself."""
    rates = {"IN_PROGRESS": {"COMPLETED": (0.004, 0.0004, 0.0004)}}

    first, _, last = effective_hazards(rates, (0.0, 600.0, 1200.0), scale=1.2)["IN_PROGRESS"]

    assert (first, last) == pytest.approx((0.004, 0.0004), rel=0.1)


def test_a_step_to_a_status_without_hope_is_worth_nothing():
    """Nobody needs to know of an opening that nothing comes of."""
    rates = {"WAITING": {"IN_PROGRESS": (0.01,)}, "IN_PROGRESS": {"COMPLETED": (0.0,)}}

    found = effective_hazards(rates, (0.0,), scale=1.2)

    assert found["WAITING"][0] * 1.2**2 < 1 / 2000**2


def test_a_step_is_worth_more_the_sooner_a_completion_follows():
    """Up to a completion's own worth."""
    soon, late = (
        effective_hazards(
            {"WAITING": {"IN_PROGRESS": (0.001,)}, "IN_PROGRESS": {"COMPLETED": (rate,)}},
            (0.0,),
            scale=1.2,
        )["WAITING"][0]
        for rate in (0.1, 0.001)
    )

    assert late < soon < 0.0011


# --- trace files


def test_traces_are_read_as_they_were_written(tmp_path: Path):
    """A file of traces may be made from anything: it is JSON Lines."""
    file = tmp_path / "traces.jsonl"
    write_traces(file, [PAID, ABANDONED])

    assert read_traces(file) == [PAID, ABANDONED]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", ": has no trace in it"),
        ("nonsense", ":1: is not JSON"),
        ('{"statuses": [[0, "WAITING"]]}', ":1: lifetime: is missing"),
        (
            '{"lifetime": 9, "statuses": [[0, 5]]}',
            ":1: statuses.0.1: input should be a valid string",
        ),
        (
            '{"lifetime": 9, "statuses": [[1, "WAITING"]]}',
            ":1: statuses: the first must begin at 0",
        ),
        (
            '{"lifetime": 9, "statuses": [[0, "A"], [3, "B"], [2, "C"]]}',
            ":1: statuses: must be in the order of their times",
        ),
        (
            '{"lifetime": 9, "statuses": [[0, "COMPLETED"], [3, "B"]]}',
            ":1: statuses: a final one must be the last",
        ),
        (
            '{"lifetime": 9, "statuses": [[0, "A"], [10, "B"]]}',
            ":1: statuses: the last begins after lifetime",
        ),
    ],
)
def test_a_wrong_trace_is_named_by_file_line_and_field(tmp_path: Path, line: str, message: str):
    """Nothing is simulated with the rest."""
    file = tmp_path / "traces.jsonl"
    file.write_text(line + "\n")

    with pytest.raises(JsonLinesError) as refused:
        read_traces(file)

    assert str(refused.value) == f"{file}{message}"
