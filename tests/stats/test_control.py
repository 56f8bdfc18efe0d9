from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hil.stats.control import ControlSeries, summary

SEEDS = 200
"""The number of simulated series; with it a rate of 5 % is measured as 10 % or less in 99.8 % of cases."""


def control(medians: list[float] | np.ndarray, begin: float = 100.0, each: int = 5) -> ControlSeries:
    """Return a control with one window of ``each`` equal durations for each of ``medians``, a second apart."""
    at = np.repeat(np.arange(len(medians)), each) + np.tile(np.arange(each) * 1e-3, len(medians))
    start = np.asarray(begin + at, dtype=np.float64)
    return ControlSeries(
        "net v1", start, np.repeat(np.asarray(medians, dtype=np.float64), each), (each,) * len(medians)
    )


def noisy(n: int, sd: float = 0.01, seed: int = 0) -> np.ndarray:
    """Return ``n`` medians of windows around 1 ms."""
    return 1e-3 * np.exp(np.random.default_rng(seed).normal(0, sd, n))


def test_without_a_usable_window_there_is_no_summary() -> None:
    """No windows, a broken duration, windows that do not add up, or two workloads give no summary."""
    good = control([1e-3] * 6)
    for bad in (math.nan, math.inf, 0.0, -1.0):
        assert summary([replace(good, duration=np.append(good.duration[:-1], bad))]) is None
    assert summary([]) is None
    assert summary([replace(good, sizes=())]) is None
    assert summary([replace(good, sizes=(5, 5))]) is None
    assert summary([replace(good, sizes=(0, 30))]) is None
    assert summary([good, replace(good, workload="net v2")]) is None
    assert summary([good]) is not None


def test_a_few_windows_have_no_interval() -> None:
    """A summary of five windows or fewer has no interval."""
    few = summary([control(noisy(5))])
    assert few is not None
    assert (few.low, few.high, few.drift_low, few.drift_high) == (None, None, None, None)
    one = summary([control([1e-3])])
    assert one is not None
    assert (one.median, one.windows, one.drift) == (1e-3, 1, 0.0)


@pytest.mark.parametrize("n", [9, 16, 40])
def test_the_interval_holds(n: int) -> None:
    """The interval of the median excludes the true one in about 5 % of sessions, and is seldom unknown."""
    missed = unknown = 0
    for seed in range(SEEDS):
        found = summary([control(noisy(n, seed=seed), each=1)])
        assert found is not None
        if found.low is None or found.high is None:
            unknown += 1
        else:
            missed += not found.low <= 1e-3 <= found.high
    assert missed / SEEDS <= 0.1
    assert unknown / SEEDS <= 0.15


def test_an_interrupted_window_changes_neither_median_nor_spread() -> None:
    """One interrupted window of a dozen changes neither median nor spread."""
    medians = noisy(12)
    before = summary([control(medians)])
    medians[5] *= 3
    after = summary([control(medians)])
    assert before is not None
    assert after is not None
    assert after.median == pytest.approx(before.median, rel=0.01)
    assert after.spread < 0.02
    assert after.high is not None
    assert after.high < 1.1e-3


def test_a_slower_end_is_a_drift() -> None:
    """A machine that became 10 % slower shows a drift; a steady one does so in about 5 % of series."""
    slower = summary([control(noisy(18) * np.where(np.arange(18) < 9, 1.0, 1.1))])
    assert slower is not None
    assert slower.drift == pytest.approx(math.log(1.1), abs=0.02)
    assert slower.drift_low is not None
    assert slower.drift_low > 0.05
    alarms = 0
    for seed in range(SEEDS):
        steady = summary([control(noisy(18, seed=seed), each=1)])
        assert steady is not None
        assert steady.drift_low is not None
        assert steady.drift_high is not None
        alarms += not steady.drift_low <= 0 <= steady.drift_high
    assert alarms / SEEDS <= 0.1


def test_series_of_several_processes_are_one_in_time() -> None:
    """The windows of all processes count, in the order of time, whatever the order of the series."""
    first, second = control(noisy(6), begin=0.0), control(1.1 * noisy(6, seed=1), begin=50.0)
    both = summary([second, first])
    assert both is not None
    assert both.windows == 12
    assert both.drift == pytest.approx(math.log(1.1), abs=0.03)
    assert both == summary([first, second])
