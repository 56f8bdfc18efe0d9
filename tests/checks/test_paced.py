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
    """A series released each 10 ms; ``service`` is what each inference takes, which starts when it may and can."""
    took = np.asarray(service, dtype=np.float64)
    start = np.empty_like(took)
    end = 0.0
    for at, seconds in enumerate(took):
        start[at] = max(at * PERIOD, end)
        end = start[at] + seconds
    told = {"first": 0.0, "period": PERIOD, "releases": releases or took.size, **pace}
    return Series(start, took, 1, {"scenario": "paced"}, {"windows": [{"pace": told}]})


def steady(n: int = 2000, seed: int = 0) -> np.ndarray:
    """Between 2 and 3 ms, independent."""
    return np.random.default_rng(seed).uniform(0.002, 0.003, n)


def limit(value: float, unit: str = "s") -> Limit:
    """An upper limit that the test wrote."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


def judge_all(series: Series) -> list[Verdict]:
    """The verdicts of all four rows under limits that any engine would keep."""
    return [
        paced.response_p99(series, limit(1e3), CONFIDENCE).verdict,
        paced.missed(series, 1e3, limit(0.5, "1"), CONFIDENCE).verdict,
        paced.streak(series, 1e3, limit(1e6, "releases"), CONFIDENCE).verdict,
        paced.jitter(series, limit(1e3), CONFIDENCE).verdict,
    ]


def test_good_series_passes() -> None:
    """What is served in time, often enough, passes on all four."""
    assert judge_all(served(steady())) == [Verdict.PASSED] * 4


def test_what_was_never_served_is_not_passed() -> None:
    """An engine too slow for its rate runs out of time before its releases do: no row may pass on what it managed."""
    assert Verdict.PASSED not in judge_all(served(steady(), releases=5000))


def test_few_releases_pass_nothing() -> None:
    """Too few releases to bound a percentile or a share pass none, and a streak of none among few is no promise."""
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
def test_release_times_that_make_no_sense_decide_nothing(pace: dict[str, Any]) -> None:
    """Without believable release times there is no response time."""
    assert judge_all(served(steady(), **pace)) == [Verdict.INCONCLUSIVE] * 4


@pytest.mark.parametrize("facts", [{}, {"windows": []}, {"windows": [{}]}, {"windows": [{}, {}]}, {"windows": None}])
def test_a_saturated_series_is_not_a_paced_one(facts: dict[str, Any]) -> None:
    """A series taken back to back has no releases; it must not pass as one of the other scenario."""
    took = steady()
    assert judge_all(Series(np.cumsum(took), took, 1, {}, facts)) == [Verdict.INCONCLUSIVE] * 4


def test_broken_durations_decide_nothing() -> None:
    """NaN is no time."""
    took = steady()
    took[3] = np.nan
    series = served(steady())
    broken = Series(series.start, took, 1, series.method, series.facts)
    assert judge_all(broken) == [Verdict.INCONCLUSIVE] * 4


def test_a_stall_is_counted_for_all_that_waited() -> None:
    """300 ms of standstill at 100 Hz miss about thirty deadlines in a row, though one inference alone was slow."""
    took = steady()
    took[500] = 0.3
    series = served(took)
    late = paced.response(series) > DEADLINE
    assert (took > DEADLINE).sum() == 1
    assert late.sum() >= 30
    judgement = paced.streak(series, DEADLINE, limit(2, "releases"), CONFIDENCE)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.measurement is not None
    assert judgement.measurement.value == late.sum()
    assert judgement.details["first_missed_at"] == pytest.approx(5.0)
    assert paced.response_p99(series, limit(DEADLINE), CONFIDENCE).verdict is not Verdict.PASSED


def test_misses_in_a_row_count_for_less() -> None:
    """1.5 % missed in one row is one event, not thirty: the share's interval is wider than for thirty alone."""
    row, spread = steady(), steady()
    row[500] = 0.3
    spread[25::66] = 0.012
    both = [paced.missed(served(took), DEADLINE, limit(0.1, "1"), CONFIDENCE).measurement for took in (row, spread)]
    assert both[0] is not None
    assert both[1] is not None
    assert both[0].value == pytest.approx(both[1].value, rel=0.35)
    assert both[0].high > 1.5 * both[1].high  # type: ignore[operator]  # a share always has its bounds


def test_the_share_missed_is_bounded() -> None:
    """No miss in 2000 is at most 0.23 % at 99 % (1 - 0.01 ** (1 / 2000)): 0.3 % passes, 0.1 % needs more releases."""
    series = served(steady())
    told = paced.missed(series, DEADLINE, limit(0.003, "1"), CONFIDENCE)
    assert told.verdict is Verdict.PASSED
    assert told.measurement is not None
    assert told.measurement.high == pytest.approx(1 - 0.01 ** (1 / 2000), rel=0.2)
    strict = paced.missed(series, DEADLINE, limit(0.001, "1"), CONFIDENCE)
    assert strict.verdict is Verdict.INCONCLUSIVE
    assert "[measure] paced" in strict.reason


def test_a_rate_that_cannot_be_kept_fails() -> None:
    """12 ms of work each 10 ms: every response is later than the one before it."""
    series = served(np.full(1000, 0.012))
    assert paced.missed(series, DEADLINE, limit(0.01, "1"), CONFIDENCE).verdict is Verdict.FAILED
    assert paced.streak(series, DEADLINE, limit(2, "releases"), CONFIDENCE).verdict is Verdict.FAILED
    assert paced.response_p99(series, limit(DEADLINE), CONFIDENCE).verdict is not Verdict.PASSED


def test_a_worker_that_was_woken_late_says_nothing_of_the_engine() -> None:
    """An idle worker that the machine let sleep past its release is no failure of the engine, and no pass either."""
    series = served(steady())
    start = series.start.copy()
    start[::20] += 0.009  # free, released, and not woken
    for at in range(1, start.size):
        start[at] = max(start[at], start[at - 1] + series.duration[at - 1])
    late = Series(start, series.duration, 1, series.method, series.facts)
    judgements = [
        paced.response_p99(late, limit(0.005), CONFIDENCE),
        paced.missed(late, DEADLINE, limit(0.005, "1"), CONFIDENCE),
        paced.streak(late, DEADLINE, limit(0, "releases"), CONFIDENCE),
        paced.jitter(late, limit(0.002), CONFIDENCE),
    ]
    assert [one.verdict for one in judgements] == [Verdict.INCONCLUSIVE] * 4
    assert all("woke an idle worker late" in one.reason for one in judgements)


def test_what_a_stall_delays_is_not_put_on_the_machine() -> None:
    """The ends of a prompt worker's inferences are those of a queue: a slow one still delays all behind it."""
    took = steady()
    took[500] = 0.3
    series = served(took)
    assert np.allclose(paced.prompt(series).start, series.start)


def test_jitter_is_told_from_slowness() -> None:
    """An engine that is slow but even has no jitter; one that alternates has."""
    even, uneven = np.full(2000, 0.009), np.full(2000, 0.002)
    uneven[::7] = 0.006
    assert paced.jitter(served(even), limit(0.001), CONFIDENCE).verdict is Verdict.PASSED
    told = paced.jitter(served(uneven), limit(0.001), CONFIDENCE)
    assert told.verdict is Verdict.FAILED
    assert told.details["absolute_jitter"] == pytest.approx(0.004)


def test_other_limits_decide_nothing() -> None:
    """A limit in another unit is a mistake: the verdict is inconclusive, not passed."""
    assert paced.missed(served(steady()), DEADLINE, limit(5.0, "s"), CONFIDENCE).verdict is Verdict.INCONCLUSIVE


def test_the_longest_row() -> None:
    """Rows at either end count, and none is none."""
    assert paced.longest(np.array([True, True, False, True])) == 2
    assert paced.longest(np.array([False, True, True, True])) == 3
    assert paced.longest(np.zeros(4, bool)) == 0
    assert paced.longest(np.ones(4, bool)) == 4
