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
    [(5, 0.01, 0.02, 0), (9, 0.01, 0.02, 0), (8, 0.02, 0.05, 0), (5, 0.005, 0.02, 0.005), (20, 0.01, 0.0, 0.0)],
)
def test_power_is_what_the_rule_finds(n: int, sd: float, effect: float, noise: float) -> None:
    """The promised power is within three points of how often the rule itself calls such a change."""
    random = np.random.default_rng(6)
    days = random.normal([0, math.log1p(effect)], noise, (TRIALS, 2))
    found = 0
    for day in days:
        base, cand = np.exp(day[:, None] + random.normal(0, sd, (2, n)))
        found += judge_change(compare_runs([base], [cand], noise=noise)) is Change.WORSE
    assert found / TRIALS == pytest.approx(power_of(n, sd, effect, noise=noise), abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.05), st.floats(0.011, 0.5))
def test_a_plan_keeps_its_promise_or_is_none(sd: float, effect: float) -> None:
    """As many runs as are planned have the power, to the spare ones; none are planned where the cap would not do."""
    runs = runs_needed(sd, effect)
    if runs is None:
        assert power_of(CAP, sd, effect) < 0.9
        return
    assert FEWEST + SPARE <= runs <= CAP
    assert power_of(runs, sd, effect) >= 0.9
    assert runs in {FEWEST + SPARE, CAP} or power_of(runs - SPARE - 1, sd, effect) < 0.9


@pytest.mark.parametrize("effect", [0.0, 0.005, 0.01])
def test_no_plan_for_what_would_not_be_called(effect: float) -> None:
    """A change under the least effect is found by no number of runs, and at it by half of them."""
    assert runs_needed(1e-4, effect) is None


def test_noise_between_sessions_is_not_outnumbered() -> None:
    """No number of runs of one session sees through what differs from session to session."""
    assert runs_needed(0.01, 0.05) == FEWEST + SPARE
    assert runs_needed(0.01, 0.05, noise=0.03) is None
    assert visible_effect(CAP, 0.01, noise=0.03) > 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(FEWEST, CAP), st.floats(0.0005, 0.05))
def test_the_visible_effect_is_seen_and_less_is_not(runs: int, sd: float) -> None:
    """What is called visible has the power, and a tenth less has not."""
    visible = visible_effect(runs, sd)
    assert power_of(runs, sd, visible) >= 0.9
    assert power_of(runs, sd, 0.9 * visible) < 0.9


@pytest.mark.parametrize("runs", range(FEWEST))
def test_too_few_runs_see_nothing(runs: int) -> None:
    """Under five runs a side nothing is called, however large."""
    assert visible_effect(runs, 0.001) == math.inf


@pytest.mark.parametrize("wrong", [(1, 0.01, 0.1), (5, -0.01, 0.1), (5, 0.01, -0.1), (5, math.nan, 0.1)])
def test_impossible_questions_are_refused(wrong: tuple[int, float, float]) -> None:
    """One run, or a size under zero, has no power to tell."""
    with pytest.raises(ValueError, match="wanted"):
        power_of(*wrong)
