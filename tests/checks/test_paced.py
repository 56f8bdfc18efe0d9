from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.checks import paced
from hil.results import Limit, Sense, Verdict
from hil.series import Series

PERIOD = 0.01
DEADLINE = 0.01
CONFIDENCE = 0.99


def served(service: Any, releases: int | None = None, **pace: Any) -> Series:
    """Return a series released every 10 ms, with the seconds of ``service`` for each inference."""
    duration = np.asarray(service, dtype=np.float64)
    start = np.empty_like(duration)
    end = 0.0
    for at, seconds in enumerate(duration):
        start[at] = max(at * PERIOD, end)
        end = start[at] + seconds
    released = {"first": 0.0, "period": PERIOD, "releases": releases or duration.size, **pace}
    return Series(start, duration, 1, {"scenario": "paced"}, {"windows": [{"pace": released}]})


def steady(n: int = 2000, seed: int = 0) -> np.ndarray:
    """Return independent durations between 2 and 3 ms."""
    return np.random.default_rng(seed).uniform(0.002, 0.003, n)


def limit(value: float, unit: str = "s") -> Limit:
    """Return an upper limit."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


def judge_all(series: Series) -> list[Verdict]:
    """Return the verdicts of all four rows under very loose limits."""
    return [
        paced.response_p99(series, limit(1e3), CONFIDENCE).verdict,
        paced.missed(series, 1e3, limit(0.5, "1"), CONFIDENCE).verdict,
        paced.streak(series, 1e3, limit(1e6, "releases"), CONFIDENCE).verdict,
        paced.jitter(series, limit(1e3), CONFIDENCE).verdict,
    ]


def test_a_good_series_passes() -> None:
    """Enough releases that are all served in time pass all four rows."""
    assert judge_all(served(steady())) == [Verdict.PASSED] * 4


def test_unserved_releases_never_pass() -> None:
    """If the window ended before all releases were served, no row passes."""
    assert Verdict.PASSED not in judge_all(served(steady(), releases=5000))


def test_few_releases_pass_nothing() -> None:
    """Too few releases for a bound make every row inconclusive."""
    series = served(steady(100))
    assert paced.response_p99(series, limit(1.0), CONFIDENCE).verdict is Verdict.INCONCLUSIVE
    assert paced.missed(series, DEADLINE, limit(0.001, "1"), CONFIDENCE).verdict is Verdict.INCONCLUSIVE
    assert paced.streak(series, DEADLINE, limit(2, "releases"), CONFIDENCE).verdict is Verdict.INCONCLUSIVE
    assert paced.jitter(series, limit(1.0), CONFIDENCE).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "pace",
    [
        {"first": float("nan")},
        {"period": 0.0},
        {"period": -0.01},
        {"releases": 10},
        {"first": 5.0},
        {"first": None},
        {"releases": float("inf")},
    ],
)
def test_implausible_release_times_are_inconclusive(pace: dict[str, Any]) -> None:
    """Without plausible release times there is no response time."""
    assert judge_all(served(steady(), **pace)) == [Verdict.INCONCLUSIVE] * 4


@pytest.mark.parametrize("facts", [{}, {"windows": []}, {"windows": [{}]}, {"windows": [{}, {}]}, {"windows": None}])
def test_a_saturated_series_is_not_judged_as_paced(facts: dict[str, Any]) -> None:
    """A back-to-back series has no releases, so paced rows are inconclusive."""
    durations = steady()
    assert judge_all(Series(np.cumsum(durations), durations, 1, {}, facts)) == [Verdict.INCONCLUSIVE] * 4


def test_broken_durations_are_inconclusive() -> None:
    """A duration of NaN makes every row inconclusive."""
    durations = steady()
    durations[3] = np.nan
    series = served(steady())
    broken = Series(series.start, durations, 1, series.method, series.facts)
    assert judge_all(broken) == [Verdict.INCONCLUSIVE] * 4


def test_a_stall_counts_for_every_waiting_release() -> None:
    """One inference of 300 ms at 100 Hz misses about thirty deadlines in a row."""
    durations = steady()
    durations[500] = 0.3
    series = served(durations)
    late = paced.response(series) > DEADLINE
    assert (durations > DEADLINE).sum() == 1
    assert late.sum() >= 30
    judgement = paced.streak(series, DEADLINE, limit(2, "releases"), CONFIDENCE)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.measurement is not None
    assert judgement.measurement.value == late.sum()
    assert judgement.details["first_missed_at"] == pytest.approx(5.0)
    assert paced.response_p99(series, limit(DEADLINE), CONFIDENCE).verdict is not Verdict.PASSED


def test_consecutive_misses_widen_the_interval() -> None:
    """Thirty consecutive misses give a wider interval than thirty separate ones."""
    row, spread = steady(), steady()
    row[500] = 0.3
    spread[25::66] = 0.012
    both = [
        paced.missed(served(durations), DEADLINE, limit(0.1, "1"), CONFIDENCE).measurement
        for durations in (row, spread)
    ]
    assert both[0] is not None
    assert both[1] is not None
    assert both[0].value == pytest.approx(both[1].value, rel=0.35)
    assert both[0].high > 1.5 * both[1].high  # type: ignore[operator]  # a share always has its bounds


def test_the_share_missed_is_bounded() -> None:
    """No miss in 2000 bounds the share at 0.23 % (1 - 0.01 ** (1 / 2000)): 0.3 % passes, 0.1 % needs more releases."""
    series = served(steady())
    loose = paced.missed(series, DEADLINE, limit(0.003, "1"), CONFIDENCE)
    assert loose.verdict is Verdict.PASSED
    assert loose.measurement is not None
    assert loose.measurement.high == pytest.approx(1 - 0.01 ** (1 / 2000), rel=0.2)
    strict = paced.missed(series, DEADLINE, limit(0.001, "1"), CONFIDENCE)
    assert strict.verdict is Verdict.INCONCLUSIVE
    assert "[measure] paced" in strict.reason


def test_a_rate_above_the_engines_fails() -> None:
    """With 12 ms of work every 10 ms responses become later and later, and missed and streak fail."""
    series = served(np.full(1000, 0.012))
    assert paced.missed(series, DEADLINE, limit(0.01, "1"), CONFIDENCE).verdict is Verdict.FAILED
    assert paced.streak(series, DEADLINE, limit(2, "releases"), CONFIDENCE).verdict is Verdict.FAILED
    assert paced.response_p99(series, limit(DEADLINE), CONFIDENCE).verdict is not Verdict.PASSED


def test_a_late_wake_up_of_the_worker_is_inconclusive() -> None:
    """If the machine woke an idle worker after its release, the rows are inconclusive."""
    series = served(steady())
    start = series.start.copy()
    start[::20] += 0.009  # idle and released, but woken later
    for at in range(1, start.size):
        start[at] = max(start[at], start[at - 1] + series.duration[at - 1])
    late = Series(start, series.duration, 1, series.method, series.facts)
    judgements = [
        paced.response_p99(late, limit(0.005), CONFIDENCE),
        paced.missed(late, DEADLINE, limit(0.005, "1"), CONFIDENCE),
        paced.streak(late, DEADLINE, limit(0, "releases"), CONFIDENCE),
        paced.jitter(late, limit(0.002), CONFIDENCE),
    ]
    assert [judgement.verdict for judgement in judgements] == [Verdict.INCONCLUSIVE] * 4
    assert all("woke an idle worker late" in judgement.reason for judgement in judgements)


def test_a_stall_is_not_attributed_to_the_machine() -> None:
    """A slow inference delays those behind it; their late starts are not late wake-ups."""
    durations = steady()
    durations[500] = 0.3
    series = served(durations)
    assert np.allclose(paced.prompt(series).start, series.start)


def test_jitter_is_not_slowness() -> None:
    """An engine with constant durations passes however slow; an engine that alternates fails."""
    even, uneven = np.full(2000, 0.009), np.full(2000, 0.002)
    uneven[::7] = 0.006
    assert paced.jitter(served(even), limit(0.001), CONFIDENCE).verdict is Verdict.PASSED
    jittery = paced.jitter(served(uneven), limit(0.001), CONFIDENCE)
    assert jittery.verdict is Verdict.FAILED
    assert jittery.details["absolute_jitter"] == pytest.approx(0.004)


def test_a_limit_in_another_unit_is_inconclusive() -> None:
    """A limit in another unit is a mistake, so the verdict is inconclusive."""
    assert paced.missed(served(steady()), DEADLINE, limit(5.0, "s"), CONFIDENCE).verdict is Verdict.INCONCLUSIVE


def test_the_longest_run_of_misses() -> None:
    """Runs at either end count; without a miss the longest is 0."""
    assert paced.longest(np.array([True, True, False, True])) == 2
    assert paced.longest(np.array([False, True, True, True])) == 3
    assert paced.longest(np.zeros(4, bool)) == 0
    assert paced.longest(np.ones(4, bool)) == 4
