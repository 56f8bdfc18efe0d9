from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.stats.power import CAP, SPARE, power_of, runs_needed, visible_effect
from hil.stats.runs import FEWEST, Change, compare_runs, judge_change

TRIALS = 1500


@pytest.mark.parametrize(
    ("n", "sd", "effect", "noise"),
    [(5, 0.01, 0.02, 0), (8, 0.01, 0.02, 0), (6, 0.02, 0.05, 0), (5, 0.005, 0.02, 0.005), (20, 0.01, 0.0, 0.0)],
)
def test_power_is_the_rate_of_detected_changes(n: int, sd: float, effect: float, noise: float) -> None:
    """The computed statistical power is the rate at which ``judge_change`` reports the change, within 3 points."""
    random = np.random.default_rng(6)
    days = random.normal([0, math.log1p(effect)], noise, (TRIALS, 2))
    detected = 0
    for day in days:
        base, cand = np.exp(day[:, None] + random.normal(0, sd, (2, n)))
        detected += judge_change(compare_runs([base], [cand], noise=noise)) is Change.WORSE
    assert detected / TRIALS == pytest.approx(power_of(n, sd, effect, noise=noise), abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.05), st.floats(0.011, 0.5))
def test_the_needed_runs_have_the_power(sd: float, effect: float) -> None:
    """The recommended runs are the fewest with 90 % statistical power plus ``SPARE``; None if ``CAP`` is too few."""
    runs = runs_needed(sd, effect)
    if runs is None:
        assert power_of(CAP, sd, effect) < 0.9
        return
    assert FEWEST + SPARE <= runs <= CAP
    assert power_of(runs, sd, effect) >= 0.9
    assert runs in {FEWEST + SPARE, CAP} or power_of(runs - SPARE - 1, sd, effect) < 0.9


@pytest.mark.parametrize("effect", [0.0, 0.005, 0.01])
def test_no_number_of_runs_detects_a_change_within_the_least_effect(effect: float) -> None:
    """For a change of at most ``above``, no number of runs is recommended."""
    assert runs_needed(1e-4, effect) is None


def test_more_runs_do_not_reduce_the_noise_between_sessions() -> None:
    """With large noise between sessions, no number of runs in one session is enough."""
    assert runs_needed(0.01, 0.05) == FEWEST + SPARE
    assert runs_needed(0.01, 0.05, noise=0.03) is None
    assert visible_effect(CAP, 0.01, noise=0.03) > 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(FEWEST, CAP), st.floats(0.0005, 0.05))
def test_the_visible_effect_is_the_least_detectable_one(runs: int, sd: float) -> None:
    """The visible effect is found with 90 % statistical power, an effect smaller by a tenth with less."""
    visible = visible_effect(runs, sd)
    assert power_of(runs, sd, visible) >= 0.9
    assert power_of(runs, sd, 0.9 * visible) < 0.9


@pytest.mark.parametrize("runs", range(FEWEST))
def test_too_few_runs_detect_nothing(runs: int) -> None:
    """With fewer than five runs per side no change is reported, whatever its size."""
    assert visible_effect(runs, 0.001) == math.inf


@pytest.mark.parametrize("wrong", [(1, 0.01, 0.1), (5, -0.01, 0.1), (5, 0.01, -0.1), (5, math.nan, 0.1)])
def test_impossible_parameters_are_refused(wrong: tuple[int, float, float]) -> None:
    """One run, a negative size and NaN raise ``ValueError``."""
    with pytest.raises(ValueError, match="two runs or more"):
        power_of(*wrong)
