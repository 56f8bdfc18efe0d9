from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.checks import fps, latency
from hil.results import Cause, Judgement, Limit, Sense, Verdict
from hil.series import Series
from hil.stats import smallest_n
from hil.units import show

METHOD = {"timed": "host-to-host"}


def series(duration: object, start: object = None, batch: int = 1, **method: str) -> Series:
    """Return a series, by default a back-to-back one; ``start`` sets other start times."""
    seconds = np.asarray(duration, dtype=np.float64)
    if start is None:
        start = np.concatenate([[0.0], np.cumsum(seconds)[:-1]])[: seconds.size]
    return Series(np.asarray(start, dtype=np.float64), seconds, batch, {**METHOD, **method})


def at_most(value: float, unit: str = "s") -> Limit:
    """Return an upper limit."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


def at_least(value: float, unit: str = "1/s") -> Limit:
    """Return a lower limit with the catalogue's warning band."""
    return Limit(value=value, unit=unit, sense=Sense.AT_LEAST, source="test", fail_at=0.8 * value)


def spread(n: int, seed: int = 0) -> np.ndarray:
    """Return independent durations between 4 and 5 ms."""
    return np.random.default_rng(seed).uniform(0.004, 0.005, n)


def test_a_bound_within_the_limit_passes() -> None:
    """Enough samples under the limit pass, with the interval in the measurement."""
    judgement = latency.percentile(series(spread(2000)), 0.99, at_most(0.0051), 0.99)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.measurement is not None
    assert judgement.measurement.low is not None
    assert judgement.measurement.high is not None
    assert judgement.measurement.low <= judgement.measurement.value <= judgement.measurement.high <= 0.0051


def test_a_point_estimate_alone_never_passes() -> None:
    """A percentile under the limit whose bound is over it is inconclusive, and the reason asks for more samples."""
    durations = np.full(1000, 0.004)
    durations[::125] = 0.006  # 0.8 % are over
    judgement = latency.percentile(series(np.random.default_rng(1).permutation(durations)), 0.99, at_most(0.005), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "more samples" in judgement.reason


def test_a_lower_bound_over_the_limit_fails() -> None:
    """If even the lower bound is over the limit, the row fails."""
    assert latency.percentile(series(spread(2000, 1)), 0.5, at_most(0.004), 0.99).verdict is Verdict.FAILED


@given(st.integers(1, smallest_n(0.99, 0.99) - 1))
def test_too_few_samples_never_pass(n: int) -> None:
    """Fewer samples than the smallest n for a 99th percentile are inconclusive, however fast."""
    judgement = latency.percentile(series(spread(n)), 0.99, at_most(1.0), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "more samples" in judgement.reason


def test_samples_that_count_for_less_say_why_and_how_long_more_take() -> None:
    """For correlated samples, the reason has the effective sample size, why it is low, and the time still needed."""
    duration = np.full(2209, 0.02)
    for at in range(50, 2209, 300):
        duration[at : at + 6] = 0.1
    judgement = latency.percentile(series(duration), 0.99, at_most(0.2), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE, judgement.reason
    assert "no sample is over the limit, but the 2209 correlated samples count for" in judgement.reason
    assert "while other work disturbs the target" in judgement.reason
    missing, seconds = judgement.details["samples_missing"], judgement.details["seconds_missing"]
    assert f"about {missing} more samples, {show(seconds, 's')} of timing, would settle it" in judgement.reason
    assert seconds == pytest.approx(missing * 0.0205, rel=0.1)


def test_a_drifting_series_never_passes() -> None:
    """A thousand samples that only become slower never pass."""
    judgement = latency.percentile(series(np.linspace(0.001, 0.002, 1000)), 0.99, at_most(1.0), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "correlated" in judgement.reason


@pytest.mark.parametrize("broken", [[], [0.0] * 500, [-0.001] * 500, [math.nan] * 500, [math.inf] * 500])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_broken_samples_never_pass(broken: list[float], q: float) -> None:
    """No samples, and zero, negative or non-finite ones, are inconclusive."""
    assert latency.percentile(series(broken), q, at_most(1.0), 0.95).verdict is Verdict.INCONCLUSIVE


def test_one_broken_sample_among_many_is_not_dropped() -> None:
    """A single NaN makes the row inconclusive."""
    durations = spread(2000)
    durations[5] = math.nan
    judgement = latency.percentile(series(durations, np.arange(2000.0)), 0.99, at_most(1.0), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_without_a_limit_latency_is_only_measured() -> None:
    """Without a limit the row is not run with cause ``no_limit``, and has its measurement."""
    judgement = latency.percentile(series(spread(2000)), 0.99, None, 0.99)
    assert (judgement.verdict, judgement.cause) == (Verdict.NOT_RUN, Cause.NO_LIMIT)
    assert judgement.measurement is not None


@pytest.mark.parametrize(
    "limit",
    [at_most(1.0, "ms"), Limit(value=0.0001, unit="s", sense=Sense.AT_LEAST, source="test")],
    ids=["unit", "sense"],
)
def test_a_limit_of_another_kind_is_refused(limit: Limit) -> None:
    """A limit in another unit, or a lower limit, is not comparable with a latency."""
    assert latency.percentile(series(spread(2000)), 0.99, limit, 0.99).verdict is Verdict.INCONCLUSIVE


@given(st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=600), st.floats(1e-5, 1.0), st.sampled_from([0.5, 0.9]))
def test_the_verdict_agrees_with_its_interval(durations: list[float], limit: float, q: float) -> None:
    """Unless a trend makes it inconclusive, passed means an interval under the limit, failed one over it."""
    judgement = latency.percentile(series(durations), q, at_most(limit), 0.95)
    assert judgement.measurement is not None
    low, high = judgement.measurement.low, judgement.measurement.high
    expected = Verdict.INCONCLUSIVE
    if "than at the start" in judgement.reason:
        assert judgement.verdict is Verdict.INCONCLUSIVE
        return
    if high is not None and high <= limit:
        expected = Verdict.PASSED
    elif low is not None and low > limit:
        expected = Verdict.FAILED
    assert judgement.verdict is expected


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1, 0.2], Verdict.PASSED),
        ([0.1, 0.6], Verdict.FAILED),
        ([], Verdict.INCONCLUSIVE),
        ([math.nan], Verdict.INCONCLUSIVE),
        ([0.0], Verdict.INCONCLUSIVE),
        ([0.1, -0.1], Verdict.INCONCLUSIVE),
    ],
)
def test_the_worst_repeat_counts(values: list[float], verdict: Verdict) -> None:
    """The slowest repeat is judged; invalid values are inconclusive."""
    assert latency.single(values, at_most(0.5)).verdict is verdict


def test_speedup_is_bounded_on_both_sides() -> None:
    """A model twice as fast has a speedup of about 2 x and passes a limit of 1.5 x."""
    judgement = latency.ratio(series(spread(500)), series(spread(500, 1) / 2), at_least(1.5, "x"), 0.95)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.measurement is not None
    assert judgement.measurement.value == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    "other",
    [series(spread(500), graph="on"), series(spread(500), batch=2), series([]), series([0.0] * 500)],
    ids=["method", "batch", "empty", "zero"],
)
def test_speedup_needs_comparable_series(other: Series) -> None:
    """Series of another method or batch, or without usable samples, are inconclusive."""
    assert latency.ratio(series(spread(500)), other, at_least(0.01, "x"), 0.95).verdict is Verdict.INCONCLUSIVE


def test_speedup_of_three_samples_is_inconclusive() -> None:
    """Three samples are too few for a bound on the median."""
    assert latency.ratio(series([1, 1, 1]), series([0.1] * 3), at_least(2, "x"), 0.95).verdict is Verdict.INCONCLUSIVE


def rates(judged: Series, limit: Limit | None) -> list[Judgement]:
    """Return the judgements of all three frame-rate checks."""
    return [fps.sustained(judged, limit), fps.slowest_second(judged, limit), fps.last_100(judged, limit)]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_steady_rate_is_the_same_in_every_check(batch: int) -> None:
    """30 frames a second are 30.0 sustained, in every second and over any 100 frames."""
    durations = np.full(150, batch / 30)
    for judgement in rates(series(durations, batch=batch), at_least(30)):
        assert judgement.verdict is Verdict.PASSED, judgement.reason
        assert judgement.measurement is not None
        assert judgement.measurement.value == pytest.approx(30)


@pytest.mark.parametrize(
    ("rate", "verdict"), [(31, Verdict.PASSED), (29, Verdict.WARNED), (24.1, Verdict.WARNED), (23.9, Verdict.FAILED)]
)
def test_the_warning_band_ends_at_80_percent(rate: float, verdict: Verdict) -> None:
    """A rate under the target is a warning; a rate under 80 % of the target fails."""
    assert {j.verdict for j in rates(series(np.full(200, 1 / rate)), at_least(30))} == {verdict}


def test_a_stall_shows_in_the_slowest_second_only() -> None:
    """One stall of half a second fails the slowest second, not the average."""
    durations = np.full(600, 0.01)
    durations[300] = 0.5
    sustained, slowest, _ = rates(series(durations), at_least(90))
    assert sustained.verdict is Verdict.PASSED
    assert slowest.verdict is Verdict.FAILED
    assert slowest.measurement is not None
    assert slowest.measurement.value == pytest.approx(51, abs=0.1)


def test_a_short_series_has_no_slowest_second() -> None:
    """Under two seconds the slowest second is inconclusive, whatever the rate."""
    _, slowest, row = rates(series(np.full(1900, 0.001)), at_least(1))
    assert slowest.verdict is Verdict.INCONCLUSIVE
    assert row.verdict is Verdict.PASSED


def test_99_frames_are_not_100() -> None:
    """``fps.last_100`` needs a hundred frames."""
    assert fps.last_100(series(np.full(99, 0.1)), at_least(1)).verdict is Verdict.INCONCLUSIVE
    assert fps.last_100(series(np.full(100, 0.1)), at_least(1)).verdict is Verdict.PASSED


@pytest.mark.parametrize("broken", [[], [0.0] * 500, [math.nan] * 500])
def test_a_broken_series_has_no_rate(broken: list[float]) -> None:
    """A series without frames, or with invalid durations, is inconclusive."""
    assert {j.verdict for j in rates(series(broken), at_least(1))} == {Verdict.INCONCLUSIVE}


def test_starts_that_run_backwards_are_refused() -> None:
    """A series whose start times decrease is inconclusive."""
    start = np.arange(500.0)
    start[7] = 3
    assert {j.verdict for j in rates(series(np.full(500, 0.1), start), at_least(0.1))} == {Verdict.INCONCLUSIVE}


def test_a_short_series_without_a_limit_is_not_run() -> None:
    """Without a limit, a series too short for a rate is ``not_run``, not inconclusive."""
    assert {(j.verdict, j.cause) for j in rates(series(np.full(50, 0.01)), None)} == {(Verdict.NOT_RUN, Cause.NO_LIMIT)}


def test_a_rate_without_a_limit_is_only_measured() -> None:
    """Without a limit a rate is not run with cause ``no_limit``."""
    assert {(j.verdict, j.cause) for j in rates(series(np.full(300, 0.01)), None)} == {
        (Verdict.NOT_RUN, Cause.NO_LIMIT)
    }


@settings(max_examples=40)
@given(st.lists(st.floats(0.001, 0.4), min_size=120, max_size=200))
def test_no_window_is_faster_than_the_fastest(durations: list[float]) -> None:
    """The slowest second and the last hundred frames are no faster than the shortest duration allows."""
    judged = series(durations)
    if sum(durations) < 2:
        return
    sustained, slowest, row = (j.measurement for j in rates(judged, None))
    assert sustained is not None
    assert slowest is not None
    assert row is not None
    assert slowest.value <= 1 / min(durations) + 1e-3
    assert row.value <= 1 / min(durations) + 1e-3
    assert slowest.value <= sustained.value * 2 + 1e-3


@pytest.mark.parametrize("n", [1000, 30_000])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_a_trend_towards_the_limit_is_inconclusive(n: int, q: float) -> None:
    """A ramp from 1 to 2 ms does not pass a limit of 2.1 ms, although no sample is over it."""
    ramp = np.linspace(0.001, 0.002, n)
    judgement = latency.percentile(series(ramp), q, at_most(0.0021), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    falling = latency.percentile(series(ramp[::-1].copy()), q, at_most(0.0016), 0.99)
    assert falling.verdict is Verdict.INCONCLUSIVE


def drifting(rise: float, seed: int = 4, n: int = 4000) -> np.ndarray:
    """Return durations of 1 ms with 3 % noise that end slower by the share ``rise`` than they began."""
    return 0.001 * (1 + np.linspace(0, rise, n)) * (1 + 0.03 * np.random.default_rng(seed).standard_normal(n))


@pytest.mark.parametrize("limit", [0.0009, 0.00095, 0.001, 0.0011, 0.0012, 0.0015, 0.002])
@pytest.mark.parametrize("q", [0.5, 0.99])
def test_a_noisy_drift_across_the_limit_is_inconclusive(q: float, limit: float) -> None:
    """A noisy series that rises over the limit does not pass, and one that falls below it does not fail."""
    rising, falling = drifting(0.1), drifting(0.1)[::-1].copy()
    crossing = {Verdict.INCONCLUSIVE} | ({Verdict.FAILED} if limit < np.quantile(rising[:200], q) else set())
    assert latency.percentile(series(rising), q, at_most(limit), 0.99).verdict in crossing
    passing = {Verdict.INCONCLUSIVE} | ({Verdict.PASSED} if limit > np.quantile(falling[:200], q) else set())
    assert latency.percentile(series(falling), q, at_most(limit), 0.99).verdict in passing


def test_a_drift_far_from_the_limit_passes() -> None:
    """A drift of 1 % at 58 % of the limit passes; a drift of 10 % is inconclusive."""
    assert latency.percentile(series(drifting(0.01)), 0.99, at_most(0.002), 0.99).verdict is Verdict.PASSED
    judgement = latency.percentile(series(drifting(0.1)), 0.99, at_most(0.002), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "slower at the end" in judgement.reason


def test_device_times_are_details_only() -> None:
    """A latency is judged by the host's times; the device's times are only details."""
    timed = series(spread(2000))
    with_device = replace(timed, device=timed.duration - 0.001)
    judgement = latency.percentile(with_device, 0.99, at_most(0.0051), 0.99)
    plain = latency.percentile(timed, 0.99, at_most(0.0051), 0.99)
    assert judgement.measurement == plain.measurement
    assert judgement.reason == plain.reason
    assert 0.003 <= judgement.details["device_p50"] <= judgement.details["device_p99"] <= 0.004
    assert "device_p50" not in plain.details


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (0.0061, "longer than the host's"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
        (-0.001, "not finite"),
    ],
)
def test_impossible_device_times_are_inconclusive(wrong: float, reason: str) -> None:
    """A device time longer than the host's, negative or not finite makes the row inconclusive."""
    timed = series(spread(2000))
    device = timed.duration - 0.001
    device[77] = wrong
    judgement = latency.percentile(replace(timed, device=device), 0.99, at_most(0.0051), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert reason in judgement.reason
    rate = fps.sustained(replace(timed, device=device), at_least(1.0))
    assert rate.verdict is Verdict.INCONCLUSIVE


def test_incomplete_device_times_are_inconclusive() -> None:
    """Device times for only some inferences make the row inconclusive."""
    timed = series(spread(2000))
    judgement = latency.percentile(replace(timed, device=timed.duration[:-1]), 0.99, at_most(0.0051), 0.99)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "the device times have shape" in judgement.reason


def test_device_times_may_exceed_the_hosts_by_their_resolution() -> None:
    """A device time half a microsecond over the host's is within the resolution of CUDA events."""
    timed = series(spread(2000))
    judgement = latency.percentile(replace(timed, device=timed.duration + 5e-7), 0.99, at_most(0.0051), 0.99)
    assert judgement.verdict is Verdict.PASSED


def test_the_gap_between_windows_is_not_a_slow_second() -> None:
    """The time between two windows, and the time of the control, does not count as a slow second."""
    durations = np.full(8000, 0.001)
    start = np.cumsum(durations) - durations + np.where(np.arange(8000) < 4000, 0.0, 3.0)

    def windows(*sizes: int) -> Series:
        return replace(series(durations, start), facts={"windows": [{"n": size} for size in sizes]})

    assert fps.slowest_second(windows(4000, 4000), at_least(30.0)).verdict is Verdict.PASSED
    assert fps.rate(windows(4000, 4000)) == pytest.approx(1000.0)
    paused = replace(series(durations, start), facts={"windows": [{"n": 8000, "segments": [4000, 4000]}]})
    assert fps.rate(paused) == pytest.approx(1000.0)  # the control ran in between
    for stalled in (windows(8000), windows(4000, 3999), windows(2000, 6000)):
        assert fps.slowest_second(stalled, at_least(30.0)).verdict is Verdict.FAILED
