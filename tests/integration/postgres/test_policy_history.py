"""The recorded history read back: sojourns in a status, and whole sessions to replay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from devkit.simulation.histories import sojourns_of_history, traces_of_history
from devkit.simulation.sojourns import STAYED, Sojourns
from devkit.simulation.traces import Trace
from tests.support.recorded import Seen, Story, record
from tests.support.stored import Stored
from worker.adapters.postgres.reports.history import History, read_history

DAY = 86_400.0
LIFE = Trace(DAY, ((0.0, "WAITING"),))
PAID = Story(
    LIFE,
    [
        Seen("WAITING", 0, 0.5, None),
        Seen("IN_PROGRESS", 5, 6, 4),
        Seen("IN_PROGRESS", 40, 50, 45),
        Seen("COMPLETED", 100, 110, 90),
    ],
    110,
)
TRACKED_LATE = Story(LIFE, [Seen("BACK", 0, 300, None)], 900)


def history(database_url: str, *, reach: timedelta = timedelta(days=30)) -> History:
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    return read_history(url, reach=reach, max_lifetime=timedelta(hours=48))


def stays(sojourns: Sojourns) -> set[tuple[object, ...]]:
    """Status, entered, last read, ended, exit, whether Klarna timed it."""
    columns = (sojourns.entered, sojourns.last_read, sojourns.ended)
    times = zip(*(column.round(3).tolist() for column in columns), strict=True)
    exits = ("-" if code == STAYED else sojourns.names[code] for code in sojourns.exits)
    statuses = (sojourns.names[code] for code in sojourns.status)
    timed = sojourns.exact.tolist()
    return {
        (status, *ages, exit_to, exact)
        for status, ages, exit_to, exact in zip(statuses, times, exits, timed, strict=True)
    }


def test_each_stay_is_read_with_what_the_reads_around_it_knew(database_url: str):
    """Klarna's time gives the age, if there is one. A read after the change does not count."""
    record(database_url, [PAID, TRACKED_LATE])

    assert stays(sojourns_of_history(history(database_url))) == {
        ("WAITING", 0.5, 4.0, 5.0, "IN_PROGRESS", True),
        ("IN_PROGRESS", 0.0, 35.0, 35.0, "IN_PROGRESS", True),
        ("IN_PROGRESS", 0.0, 50.0, 60.0, "COMPLETED", True),
        ("BACK", 300.0, 900.0, 900.0, "-", True),
    }


def test_what_klarna_gave_no_time_for_lies_between_two_reads(database_url: str, stored: Stored):
    """A KP session ends with its token, whatever its status."""
    seen = [Seen("incomplete", 2, 2, None), Seen("authorized", 60, 60, 40)]
    record(database_url, [Story(LIFE, seen, 60)])
    stored.rows("UPDATE payment_sessions SET outcome = 'completed'")

    assert stays(sojourns_of_history(history(database_url))) == {
        ("incomplete", 0.0, 38.0, 58.0, "complete", False)
    }


def test_a_change_that_an_earlier_release_recorded_came_after_the_change_before(
    database_url: str, stored: Stored
):
    """It did not record the previous read, so the previous transition's time stands for it."""
    record(database_url, [PAID])
    stored.rows("UPDATE status_transitions SET previous_read_at = NULL")

    assert ("IN_PROGRESS", 0.0, 10.0, 60.0, "COMPLETED", True) in stays(
        sojourns_of_history(history(database_url))
    )


def test_lives_to_replay_are_of_sessions_that_have_reached_their_end(
    database_url: str, stored: Stored
):
    """Otherwise only the quick ones of the recent sessions would be complete, which is a bias."""
    record(database_url, [PAID, TRACKED_LATE])

    assert sorted(traces_of_history(history(database_url), most=10), key=str) == [
        Trace(DAY, ((0.0, "BACK"),)),
        Trace(
            DAY,
            ((0.0, "WAITING"), (5.0, "IN_PROGRESS"), (40.0, "IN_PROGRESS"), (100.0, "COMPLETED")),
        ),
    ]
    assert len(list(traces_of_history(history(database_url), most=1))) == 1
    stored.rows("UPDATE payment_sessions SET expires_at = now() + interval '1 h'")
    assert list(traces_of_history(history(database_url), most=10)) == []


def test_what_the_purge_may_have_thinned_out_is_left_out(database_url: str):
    """Sessions that finished early are purged, so those left would be biased."""
    record(database_url, [PAID])

    assert len(history(database_url, reach=timedelta(days=4)).changes) == 0
    assert len(history(database_url, reach=timedelta(days=26)).changes) == 4


@pytest.mark.parametrize("sessions", [0, 1, 30_000])
def test_any_number_of_changes_is_read(database_url: str, sessions: int):
    """None, a few, and more than one chunk."""
    record(database_url, [PAID], copies=sessions)

    read = history(database_url)

    assert len(read.changes) == 4 * sessions
    assert len(sojourns_of_history(read)) == 3 * sessions
    assert len({*zip(read.changes["session"], read.changes["sequence"], strict=True)}) == (
        4 * sessions
    )
