"""The noise between sessions: too few sessions do not make it known, and different models do not add to it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hil.stats.runs import Change, compare_runs, judge_change
from hil.stats.session_noise import FEWEST_DF, pooled


@pytest.mark.parametrize("groups", [[], [[]], [[[1.0]]], [[[1.0]], [[2.0]]], [[[1.0], [math.nan]], [[1.0], [0.0]]]])
def test_sessions_that_cannot_differ_make_no_noise_known(groups: list[list[list[float]]]) -> None:
    """No session, one session of a model, and sessions without valid values leave the noise unknown, not at zero."""
    noise = pooled(groups)
    assert (noise.df, noise.sessions, noise.known) == (0, 0, False)


def test_the_noise_is_known_from_six_sessions() -> None:
    """Six sessions of one model, or as many degrees of freedom over several models, make the noise known."""
    assert not pooled([[[1.0, 1.01]] * FEWEST_DF]).known
    assert pooled([[[1.0, 1.01]] * (FEWEST_DF + 1)]).known
    assert pooled([[[1.0]] * 3, [[2.0]] * 4]).known
    assert not pooled([[[1.0]] * 2, [[2.0]] * 4]).known


def test_models_of_different_speed_add_no_noise() -> None:
    """The deviation between sessions is recovered from sessions of models of very different speed."""
    random = np.random.default_rng(3)
    groups = [speed * np.exp(random.normal(0, 0.02, (30, 1))) for speed in (1e-4, 1.0, 7.0)]
    noise = pooled([group.tolist() for group in groups])
    assert noise.sd == pytest.approx(0.02, rel=0.2)
    assert (noise.df, noise.sessions) == (87, 90)


@pytest.mark.parametrize("sessions", [FEWEST_DF + 1, 12])
@pytest.mark.parametrize("sd", [0.0, 0.01, 0.05, 0.4])
def test_few_false_alarms_with_the_noise_of_few_sessions(sessions: int, sd: float) -> None:
    """Of 1,500 pairs of sessions that differ as the earlier ones do, 1 % or fewer report a change, within chance."""
    random = np.random.default_rng(8)
    alarms = 0
    for _ in range(1500):
        level = np.exp(random.normal(0, sd, (sessions + 2, 1)) + random.normal(0, 0.003, (sessions + 2, 5)))
        noise = pooled([level[2:].tolist()])
        comparison = compare_runs([level[0].tolist()], [level[1].tolist()], noise=noise.sd, noise_df=noise.df)
        alarms += judge_change(comparison) in {Change.WORSE, Change.BETTER}
    assert alarms <= 25  # the 99 % quantile of a rate of 1 %
