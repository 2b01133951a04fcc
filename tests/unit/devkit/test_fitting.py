"""Shrinkage: few data leave the policy that was there, many replace it."""

from __future__ import annotations

import numpy as np
import pytest

from devkit.simulation.fitting import PRIOR_CHANGES, fit, shrunk
from devkit.simulation.sojourns import sojourns_of_traces
from devkit.simulation.traces import Trace
from tests.support.builders import POLICY


def one_bin(hazard: float, *, exits: float, stayed: float, prior: float = 0.01) -> float:
    (answer,) = shrunk([hazard], [prior], exits=np.array([exits]), stayed=np.array([stayed]))
    return answer


def test_without_data_the_prior_stays():
    """Nobody was in this bin: whatever was drawn through it does not count."""
    assert one_bin(5.0, exits=0, stayed=0) == pytest.approx(0.01)


def test_few_data_move_the_prior_in_proportion_and_many_replace_it():
    """As many changes as the prior is worth: half way."""
    few, many = PRIOR_CHANGES, PRIOR_CHANGES * 1000
    assert one_bin(0.03, exits=few, stayed=few / 0.03) == pytest.approx(0.02)
    assert one_bin(0.03, exits=many, stayed=many / 0.03) == pytest.approx(0.03, rel=0.01)


def test_changes_that_were_expected_and_did_not_come_are_data_as_well():
    """The prior expects a thousand in this time; there was none."""
    assert one_bin(0.0, exits=0, stayed=100_000) == pytest.approx(0.0, abs=1e-4)


def test_it_is_the_gamma_poisson_estimate_with_a_prior_time():
    """(events + m·p) / (exposure + m), with m = PRIOR_CHANGES over the greater of the two rates."""
    exits, stayed, prior = 7.0, 300.0, 0.01
    for_prior = PRIOR_CHANGES / max(exits / stayed, prior)

    answer = one_bin(exits / stayed, exits=exits, stayed=stayed, prior=prior)

    assert answer == pytest.approx((exits + for_prior * prior) / (stayed + for_prior))


def test_a_status_that_nobody_was_seen_to_leave_keeps_its_curve():
    """IN_PROGRESS was seen for hours, and never left; WAITING was."""
    opened = Trace(4 * 3600, ((0, "WAITING"), (30, "IN_PROGRESS")))

    fitted = fit(sojourns_of_traces([opened] * 50), [opened] * 50, prior=POLICY, requests=20)

    assert fitted.hazards["IN_PROGRESS"] == POLICY.hazards["IN_PROGRESS"]
    assert fitted.hazards["*"] == POLICY.hazards["*"]
    assert fitted.hazards["WAITING"] != POLICY.hazards["WAITING"]
    assert (fitted.ages, fitted.floor, fitted.cap) == (POLICY.ages, POLICY.floor, POLICY.cap)


@pytest.mark.parametrize("requests", [20, 72])
def test_fewer_requests_than_the_cap_takes_of_these_sessions_are_refused_with_the_range(
    requests: float,
):
    """Nobody completes: at 40 minutes two days take 72 reads already, and the last one."""
    abandoned = Trace(48 * 3600, ((0, "WAITING"),))

    with pytest.raises(ValueError, match="must be from 74 to 200 for these sessions"):
        fit(sojourns_of_traces([abandoned]), [abandoned], prior=POLICY, requests=requests)
