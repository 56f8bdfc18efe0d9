from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.checks import sustained
from hil.results import Judgement, Limit, Sense, Verdict
from hil.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 60.0
CONFIDENCE = 0.99


def sustained_series(
    factor: Callable[[float], float] = lambda _: 1.0, seconds: float = SECONDS, seed: int = 0
) -> Series:
    """Return back-to-back inferences for ``seconds``: 9 to 11 ms times ``factor`` of the time since the start."""
    draw = np.random.default_rng(seed)
    start, duration, now = [], [], 0.0
    while now < seconds:
        start.append(now)
        duration.append(draw.uniform(0.009, 0.011) * factor(now))
        now += duration[-1]
    return Series(np.array(start), np.array(duration), 1, {"scenario": "sustained"})


def at_most(value: float, unit: str = "s") -> Limit:
    """Return an upper limit."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


def at_least(value: float) -> Limit:
    """Return a lower limit of a rate."""
    return Limit(value=value, unit="1/s", sense=Sense.AT_LEAST, source="test")


def judge_all(series: Series, p99: float = 0.012, fps: float = 95.0, slowdown: float = 0.05) -> list[Judgement]:
    """Return the judgements of all three rows, by limits that inferences of 10 ms just meet."""
    return [
        sustained.p99(series, SECONDS, at_most(p99), CONFIDENCE),
        sustained.frames(series, SECONDS, at_least(fps)),
        sustained.slowdown(series, SECONDS, at_most(slowdown, "1"), CONFIDENCE),
    ]


def verdicts(judgements: list[Judgement]) -> list[Verdict]:
    """Return the verdicts."""
    return [judgement.verdict for judgement in judgements]


def test_an_even_series_passes() -> None:
    """A constant rate over a minute passes and is steady from the start."""
    judgements = judge_all(sustained_series())
    assert verdicts(judgements) == [Verdict.PASSED] * 3
    assert all(judgement.details["steady_since"] == 0.0 for judgement in judgements)
    assert judgements[0].details["slow_windows"] == 0


def test_throttling_fails() -> None:
    """A series that is a third slower after ten seconds fails."""
    judgements = judge_all(sustained_series(lambda now: 1.0 if now < 10 else 1.33))
    assert verdicts(judgements) == [Verdict.FAILED] * 3
    assert judgements[2].measurement is not None
    assert judgements[2].measurement.value == pytest.approx(0.33, abs=0.02)
    assert judgements[0].details["steady_since"] == pytest.approx(10, abs=1.1)


def test_a_slow_middle_is_inconclusive() -> None:
    """A board that throttles for a while is inconclusive, and the reason has the slow interval."""
    judgements = judge_all(sustained_series(lambda now: 1.33 if 22 < now < 38 else 1.0))
    assert verdicts(judgements[:2]) == [Verdict.INCONCLUSIVE] * 2
    assert "from 20 to 40 s" in judgements[0].reason


def test_a_rising_duration_is_inconclusive() -> None:
    """A series still getting slower at its end is inconclusive, even within the limit."""
    slowdown = judge_all(sustained_series(lambda now: 1 + 0.06 * now / SECONDS), slowdown=0.055)[2]
    assert slowdown.verdict is Verdict.INCONCLUSIVE
    assert "not steady yet" in slowdown.reason


def test_a_series_cut_short_is_inconclusive() -> None:
    """A series of half the requested time is inconclusive."""
    judgements = judge_all(sustained_series(seconds=SECONDS / 2))
    assert verdicts(judgements) == [Verdict.INCONCLUSIVE] * 3
    assert "lower [measure] sustained" in judgements[0].reason


def test_few_inferences_are_inconclusive() -> None:
    """An engine with inferences of a second has too few of them within a minute."""
    assert verdicts(judge_all(sustained_series(lambda _: 100.0), p99=10.0, fps=0.1)) == [Verdict.INCONCLUSIVE] * 3


def test_too_few_blocks_give_no_slowdown() -> None:
    """Slowdown is inconclusive if the first tenth has too few blocks for an interval."""
    slowdown = judge_all(sustained_series(lambda _: 25.0), slowdown=10.0)[2]
    assert slowdown.verdict is Verdict.INCONCLUSIVE
    assert "inferences in a compared part" in slowdown.reason


def test_broken_series_are_inconclusive() -> None:
    """A series without samples or with invalid durations is inconclusive."""
    empty = Series(np.empty(0), np.empty(0), 1, {})
    good = sustained_series()
    broken = Series(good.start, np.full(good.n, np.nan), 1, {})
    for series in (empty, broken):
        assert verdicts(judge_all(series)) == [Verdict.INCONCLUSIVE] * 3


def test_slow_seconds_are_counted_and_not_dropped() -> None:
    """Two slow seconds are counted with their times and longest run, and are part of every figure."""
    series = sustained_series(lambda now: 2.0 if 50 <= now < 52 else 1.0)
    slow = sustained.slow_windows(series)
    assert slow["windows"] == 60
    assert slow["slow_windows"] == slow["slow_longest"] == 2
    assert slow["slow_at"] == [50.0, 51.0]
    assert sum(sustained.part(series, *third).n for third in sustained.THIRDS) == series.n
    assert sustained.p99(series, SECONDS, at_most(0.012), CONFIDENCE).verdict is not Verdict.PASSED


@pytest.mark.parametrize("seed", range(5))
def test_an_even_series_has_no_slowdown(seed: int) -> None:
    """The slowdown's interval of an even series contains zero."""
    measurement = judge_all(sustained_series(seed=seed))[2].measurement
    assert measurement is not None
    assert measurement.low is not None
    assert measurement.high is not None
    assert measurement.low < 0 < measurement.high < 0.03


def test_a_single_step_does_not_pass_slowdown() -> None:
    """A single step in the duration makes the interval of slowdown too wide to pass."""
    series = sustained_series(lambda now: 1.0 if now < 47 else 1.04)
    assert judge_all(series, slowdown=0.03)[2].verdict is not Verdict.PASSED
