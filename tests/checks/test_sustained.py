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


def worked(factor: Callable[[float], float] = lambda _: 1.0, seconds: float = SECONDS, seed: int = 0) -> Series:
    """Back to back for ``seconds``, 9 to 11 ms each times ``factor`` of the time since the start."""
    draw = np.random.default_rng(seed)
    start, took, now = [], [], 0.0
    while now < seconds:
        start.append(now)
        took.append(draw.uniform(0.009, 0.011) * factor(now))
        now += took[-1]
    return Series(np.array(start), np.array(took), 1, {"scenario": "sustained"})


def at_most(value: float, unit: str = "s") -> Limit:
    """An upper limit that the test wrote."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


def at_least(value: float) -> Limit:
    """A lower limit of a rate."""
    return Limit(value=value, unit="1/s", sense=Sense.AT_LEAST, source="test")


def judge_all(series: Series, p99: float = 0.012, fps: float = 95.0, slowdown: float = 0.05) -> list[Judgement]:
    """All three rows; the limits are those that 10 ms keep with a little to spare."""
    return [
        sustained.p99(series, SECONDS, at_most(p99), CONFIDENCE),
        sustained.frames(series, SECONDS, at_least(fps)),
        sustained.slowdown(series, SECONDS, at_most(slowdown, "1"), CONFIDENCE),
    ]


def verdicts(judgements: list[Judgement]) -> list[Verdict]:
    """What was said of the three."""
    return [one.verdict for one in judgements]


def test_an_even_series_passes() -> None:
    """What keeps its pace for a minute passes, and is steady from the start."""
    judgements = judge_all(worked())
    assert verdicts(judgements) == [Verdict.PASSED] * 3
    assert all(one.details["steady_since"] == 0.0 for one in judgements)
    assert judgements[0].details["slow_windows"] == 0


def test_throttling_counts_against_the_model() -> None:
    """Fast for ten seconds, then a third slower to the end: the end is what a robot gets."""
    judgements = judge_all(worked(lambda now: 1.0 if now < 10 else 1.33))
    assert verdicts(judgements) == [Verdict.FAILED] * 3
    assert judgements[2].measurement is not None
    assert judgements[2].measurement.value == pytest.approx(0.33, abs=0.02)
    assert judgements[0].details["steady_since"] == pytest.approx(10, abs=1.1)


def test_a_bad_middle_is_not_passed_for_a_good_end() -> None:
    """A board that throttles in turns is inconclusive, and the reason says when it was slow."""
    judgements = judge_all(worked(lambda now: 1.33 if 22 < now < 38 else 1.0))
    assert verdicts(judgements[:2]) == [Verdict.INCONCLUSIVE] * 2
    assert "from 20 to 40 s" in judgements[0].reason


def test_what_goes_on_getting_slower_is_not_passed() -> None:
    """4 % slower at its end and still rising: within 5 % now, and not for long."""
    slowdown = judge_all(worked(lambda now: 1 + 0.06 * now / SECONDS), slowdown=0.055)[2]
    assert slowdown.verdict is Verdict.INCONCLUSIVE
    assert "not steady yet" in slowdown.reason


def test_a_series_cut_short_decides_nothing() -> None:
    """Minutes were asked for; what was timed for half of them shows no heat."""
    judgements = judge_all(worked(seconds=SECONDS / 2))
    assert verdicts(judgements) == [Verdict.INCONCLUSIVE] * 3
    assert "lower [measure] sustained" in judgements[0].reason


def test_few_inferences_decide_nothing() -> None:
    """An engine that takes a second is not seen to settle within a minute."""
    assert verdicts(judge_all(worked(lambda _: 100.0), p99=10.0, fps=0.1)) == [Verdict.INCONCLUSIVE] * 3


def test_a_part_of_a_few_inferences_says_no_slowdown() -> None:
    """The first tenth of a slow engine's minute holds too few blocks for an interval."""
    slowdown = judge_all(worked(lambda _: 25.0), slowdown=10.0)[2]
    assert slowdown.verdict is Verdict.INCONCLUSIVE
    assert "blocks" in slowdown.reason


def test_broken_series_decide_nothing() -> None:
    """No sample, or durations that are none."""
    empty = Series(np.empty(0), np.empty(0), 1, {})
    good = worked()
    broken = Series(good.start, np.full(good.n, np.nan), 1, {})
    for series in (empty, broken):
        assert verdicts(judge_all(series)) == [Verdict.INCONCLUSIVE] * 3


def test_slow_seconds_are_counted_and_kept() -> None:
    """Two seconds in a row at half the rate: counted, with when and how many in a row, and in every figure."""
    series = worked(lambda now: 2.0 if 50 <= now < 52 else 1.0)
    told = sustained.slow_windows(series)
    assert told["windows"] == 60
    assert told["slow_windows"] == told["slow_longest"] == 2
    assert told["slow_at"] == [50.0, 51.0]
    assert sum(sustained.part(series, *third).n for third in sustained.THIRDS) == series.n
    assert sustained.p99(series, SECONDS, at_most(0.012), CONFIDENCE).verdict is not Verdict.PASSED


@pytest.mark.parametrize("seed", range(5))
def test_no_slowdown_is_seen_where_there_is_none(seed: int) -> None:
    """The interval of an even series holds zero."""
    measurement = judge_all(worked(seed=seed))[2].measurement
    assert measurement is not None
    assert measurement.low is not None
    assert measurement.high is not None
    assert measurement.low < 0 < measurement.high < 0.03


def test_a_change_that_is_one_step_in_a_part_is_no_interval() -> None:
    """Correlated blocks have a small effective size: the interval is infinite, and the verdict is not a pass."""
    series = worked(lambda now: 1.0 if now < 47 else 1.04)
    assert judge_all(series, slowdown=0.03)[2].verdict is not Verdict.PASSED
