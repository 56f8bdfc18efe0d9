"""The difference of two controls: different machines are found, and equal ones rarely differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.results import ControlSummary
from hil.stats.control import ControlSeries, summary
from hil.stats.control_difference import control_difference

TOLERANCE = 0.05


def control(median: float = 1e-3, error: float = 0.003, **changes: Any) -> ControlSummary:
    """Return a control whose median has the relative standard error ``error``."""
    fields = {
        "workload": "net v1",
        "windows": 20,
        "median": median,
        "low": median * math.exp(-1.96 * error),
        "high": median * math.exp(1.96 * error),
        "spread": 0.01,
        "drift_low": -0.01,
        "drift_high": 0.01,
    }
    return ControlSummary(**{**fields, **changes})


def measured(seed: int, level: float = 1.0, sd: float = 0.02, late: float = 1.0) -> ControlSummary:
    """Return the summary of 24 simulated windows of which the last third is slower by the factor ``late``."""
    medians = level * 1e-3 * np.exp(np.random.default_rng(seed).normal(0, sd, 24))
    medians[16:] *= late
    found = summary([ControlSeries("net v1", np.arange(24.0), medians, (1,) * 24)])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("base", "cand"),
    [
        ([], [control()]),
        ([control()], []),
        ([None], [control()]),
        ([control()], [None]),
        ([control(), None], [control()]),
        ([None], [None]),
        ([control()], [control(workload="net v2")]),
    ],
)
def test_what_cannot_be_compared_is_no_difference_of_zero(base: list[Any], cand: list[Any]) -> None:
    """A session without a control, and two workloads, give no result."""
    assert control_difference(base, cand) is None


@pytest.mark.parametrize(("factor", "differs"), [(1.43, True), (0.57, True), (1.08, True), (1.04, False), (1.0, False)])
def test_a_machine_of_another_speed_differs(factor: float, differs: bool) -> None:
    """A machine of another speed is found, whether faster or slower, with one session or several on each side."""
    for sessions in (1, 3):
        found = control_difference([control()] * sessions, [control(1e-3 * factor)] * sessions)
        assert found is not None
        assert found.ratio == pytest.approx(factor)
        assert found.differs(TOLERANCE) is differs


def test_a_difference_within_the_noise_is_none() -> None:
    """A difference of 8 % does not count between controls known to 5 % each, nor between two noisy windows."""
    for noisy in (control(1.08e-3, error=0.05), control(1.08e-3, windows=2, low=None, high=None, spread=0.1)):
        found = control_difference([control(error=0.05)], [noisy])
        assert found is not None
        assert not found.differs(TOLERANCE)


def test_two_windows_without_an_interval_are_not_exact() -> None:
    """For two windows that agree exactly, a spread of 2 % is assumed."""
    few: dict[str, Any] = {"windows": 2, "low": None, "high": None, "spread": 0.0}
    found = control_difference([control(**few)], [control(1.01e-3, **few)])
    assert found is not None
    assert found.low < 1 < found.high


def test_sessions_of_one_side_that_differ_widen_the_interval() -> None:
    """Sessions of one side with different controls widen the interval."""
    found = control_difference([control(0.7e-3), control(1.3e-3)], [control(1.1e-3)])
    assert found is not None
    assert not found.differs(TOLERANCE)


@pytest.mark.parametrize("late", [1.0, 1.4])
def test_a_control_that_changes_within_a_session_drifts(late: float) -> None:
    """A machine that slows down in the last third drifts, even if both medians agree."""
    found = control_difference([measured(1)], [measured(2, late=late)])
    assert found is not None
    assert (found.drifts(TOLERANCE), found.differs(TOLERANCE)) == (late > 1, False)


def test_few_equal_machines_differ_or_drift() -> None:
    """On a machine whose sessions vary by 1 %, at most 2 % of 1,000 pairs are reported as differing or drifting."""
    random = np.random.default_rng(4)
    wrong = 0
    for seed in range(1000):
        levels = np.exp(random.normal(0, 0.01, 2))
        found = control_difference([measured(2 * seed, levels[0])], [measured(2 * seed + 1, levels[1])])
        assert found is not None
        wrong += found.differs(TOLERANCE) or found.drifts(TOLERANCE)
    assert wrong <= 20


@given(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.0005, 0.2))
def test_swapped_sides_give_the_reciprocal(first: float, second: float, error: float) -> None:
    """Swapping the sides gives the reciprocal ratio and interval, and the same answer."""
    sides = [control(first, error)], [control(second, error)]
    there, back = control_difference(*sides), control_difference(*sides[::-1])
    assert there is not None
    assert back is not None
    assert (there.ratio, there.low) == pytest.approx((1 / back.ratio, 1 / back.high))
    assert there.differs(TOLERANCE) is back.differs(TOLERANCE)
