"""Energy of the whole board for an inference, and the cases that must not pass."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks import energy
from hil.results import Judgement, Limit, Sense, Verdict
from hil.series import Series

METHOD = {"timed": "host-to-host"}
STEP = 0.1


def at_most(joules: float) -> Limit:
    """Return an upper limit of ``joules``."""
    return Limit(value=joules, unit="J", sense=Sense.AT_MOST, source="hil.toml:1 energy")


def window(watts: list[float | None], begin: float = 100.0, **more: Any) -> dict[str, Any]:
    """Return telemetry at 10 Hz with these readings."""
    times = [round(begin + STEP * at, 4) for at in range(len(watts))]
    facts = {"t": times, "interval": STEP, energy.POWER: watts, "sources": {energy.POWER: "VDD_IN"}, "not_readable": {}}
    return {**facts, **more}


def series(windows: list[dict[str, Any]], each: float = 0.01, batch: int = 1) -> Series:
    """Return back-to-back inferences of ``each`` seconds in every window, after half a second of warm-up."""
    starts = []
    for facts in windows:
        begin, end = facts["t"][0] + 0.5, facts["t"][-1]
        starts.append(begin + each * np.arange(int((end - begin) / each)))
    counted = [{"n": len(part), **facts} for part, facts in zip(starts, windows, strict=True)]
    start = np.concatenate(starts)
    return Series(start, np.full(start.size, each), batch, METHOD, {"windows": counted, "looks": len(windows)})


def noisy(n: int, mean: float = 10.0, spread: float = 0.2, seed: int = 0) -> list[float | None]:
    """Return power samples with noise, as a meter reads them."""
    return [round(float(each), 3) for each in np.random.default_rng(seed).normal(mean, spread, n)]


def reading(judgement: Judgement) -> tuple[float, float, float]:
    """Return value and bounds of the measurement."""
    measurement = judgement.measurement
    assert measurement is not None
    assert measurement.low is not None
    assert measurement.high is not None
    return measurement.value, measurement.low, measurement.high


def test_energy_is_power_times_time_per_inference() -> None:
    """10 W for 10 ms are 100 mJ with an interval; power during the warm-up does not count."""
    watts = noisy(200)
    watts[:5] = [90.0] * 5  # before the first inference
    judgement = energy.inference(series([window(watts)]), at_most(0.105), 0.99)
    value, low, high = reading(judgement)
    assert judgement.verdict is Verdict.PASSED
    assert value == pytest.approx(0.1, rel=0.01)
    assert low < value < high
    assert high - low == pytest.approx(2 * 2.33 * 0.2 / math.sqrt(195) * 0.01, rel=0.3)
    assert "idle power not subtracted" in judgement.reason
    assert judgement.details["idle_power"] == "not subtracted"
    assert judgement.details["power"] == "VDD_IN"


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(0.11, Verdict.PASSED), (0.0999, Verdict.INCONCLUSIVE), (0.1001, Verdict.INCONCLUSIVE), (0.09, Verdict.FAILED)],
)
def test_the_whole_interval_decides(limit: float, verdict: Verdict) -> None:
    """Passed and failed need the whole interval on one side of the limit."""
    assert energy.inference(series([window(noisy(100))]), at_most(limit), 0.99).verdict is verdict


def test_without_a_limit_energy_is_only_measured() -> None:
    """Without a limit the row is not run, and has its measurement."""
    judgement = energy.inference(series([window(noisy(100))]), None, 0.99)
    assert judgement.verdict is Verdict.NOT_RUN
    assert judgement.measurement is not None


def test_energy_is_per_batch_with_a_detail_per_sample() -> None:
    """The measurement is per run of the engine; the joules per sample are a detail."""
    judgement = energy.inference(series([window(noisy(100))], batch=4), at_most(1.0), 0.99)
    assert judgement.details["joules_per_sample"] == pytest.approx(reading(judgement)[0] / 4)


def test_windows_are_weighted_by_their_duration() -> None:
    """The mean power of windows of different length and sampling interval is weighted by time."""
    long = window(noisy(400, 11.0, 1.0), 200.0)
    thinned = {**long, "t": long["t"][::4], energy.POWER: long[energy.POWER][::4], "interval": 4 * STEP}
    measured = series([window(noisy(50, 10.0, 1.0)), thinned])
    seconds = [4.4, 39.1]
    inside = noisy(50, 10.0, 1.0)[5:], thinned[energy.POWER][2:]
    watts = [sum(each or 0.0 for each in part) / len(part) for part in inside]
    mean = (watts[0] * seconds[0] + watts[1] * seconds[1]) / sum(seconds)
    assert reading(energy.inference(measured, None, 0.95))[0] == pytest.approx(mean * 0.01, rel=0.003)


def test_power_that_changes_between_windows_is_inconclusive() -> None:
    """Power that doubles from one window to the next has no settled mean."""
    judgement = energy.inference(series([window(noisy(50, 10.0)), window(noisy(100, 20.0), 200.0)]), at_most(1e9), 0.95)
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_correlated_samples_widen_the_interval() -> None:
    """A meter that updates once a second gives a wider interval than one that updates at every sample."""
    fresh = noisy(200, seed=3)
    stale = [fresh[10 * (at // 10)] for at in range(200)]
    sides = [reading(energy.inference(series([window(each)]), None, 0.95)) for each in (fresh, stale)]
    (_, low, high), (_, low_stale, high_stale) = sides
    assert high_stale - low_stale > 2 * (high - low)


CASES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no column": ([{**window(noisy(60)), energy.POWER: None}], "not readable in every window"),
    "one window without": ([window(noisy(60)), {"t": [200.0, 206.0]}], "different sources"),
    "nulls": ([window([10.0 + at % 3 if at % 4 else None for at in range(100)])], "have a reading"),
    "all null": ([window([None] * 100)], "0 of"),
    "zeros": ([window([10.0 + at % 3 if at % 20 else 0.0 for at in range(100)])], "0 W or less"),
    "negative": ([window([10.0 + at % 3 if at % 20 else -10.0 for at in range(100)])], "0 W or less"),
    "frozen": ([window([5.263] * 100)], "does not follow the load"),
    "few": ([window(noisy(40))], "40 are needed"),
    "drift": ([window([10 + 0.2 * at for at in range(100)])], "so correlated"),
    "lengths": ([{**window(noisy(100)), energy.POWER: noisy(99)}], "not readable in every window"),
    "two meters": (
        [window(noisy(60)), window(noisy(60), 200.0, sources={energy.POWER: "sum of GPU, CPU"})],
        "read from different sources: VDD_IN / sum of GPU, CPU",
    ),
    "wrong count": ([window(noisy(100), n=7)], "the windows hold 7 of"),
    "no count": ([window(noisy(60), n=0), window(noisy(60), 200.0)], "inferences are not known"),
    "another clock": ([{**window(noisy(100)), "t": [at * STEP for at in range(100)]}], "0 of 0 power samples"),
}


@pytest.mark.parametrize("case", CASES)
def test_incomplete_power_never_passes(case: str) -> None:
    """Missing, constant, implausible or mismatched power samples are inconclusive under any limit."""
    windows, why = CASES[case]
    timed = [window(noisy(len(each["t"])), each["t"][0]) for each in windows]
    if case == "another clock":
        timed = [window(noisy(100))]
    base = series(timed)
    counted = [{"n": whole["n"], **each} for whole, each in zip(base.facts["windows"], windows, strict=True)]
    judgement = energy.inference(
        Series(base.start, base.duration, 1, METHOD, {"windows": counted, "looks": 1}), at_most(1e9), 0.95
    )
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert why in judgement.reason


def test_a_gap_in_the_samples_is_inconclusive() -> None:
    """A gap of two seconds at the start, in the middle or at the end is not filled in."""
    whole = window(noisy(200))
    timed = series([whole])
    for gap in (slice(0, 25), slice(80, 100), slice(175, 200)):
        keep = [at for at in range(200) if at not in range(*gap.indices(200))]
        cut = {**whole, "n": timed.n, **{name: [whole[name][at] for at in keep] for name in ("t", energy.POWER)}}
        judgement = energy.inference(
            Series(timed.start, timed.duration, 1, METHOD, {"windows": [cut]}), at_most(1e9), 0.95
        )
        assert judgement.verdict is Verdict.INCONCLUSIVE
        assert "no power was read for 2" in judgement.reason


def test_a_lower_limit_is_refused() -> None:
    """A lower limit of energy is a mistake, so the verdict is inconclusive."""
    limit = Limit(value=1.0, unit="J", sense=Sense.AT_LEAST, source="x")
    assert energy.inference(series([window(noisy(100))]), limit, 0.99).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("unit", ["W", "mJ"])
def test_another_unit_is_refused(unit: str) -> None:
    """A limit in a unit other than joules is inconclusive."""
    limit = Limit(value=1e9, unit=unit, sense=Sense.AT_MOST, source="x")
    assert energy.inference(series([window(noisy(100))]), limit, 0.99).verdict is Verdict.INCONCLUSIVE


def test_the_reason_for_missing_power() -> None:
    """The telemetry's reason is returned; readable power returns an empty text."""
    why = {"power.total": "no known meter measures the board's power"}
    assert energy.unreadable(Series(np.ones(1), np.ones(1), 1, METHOD, {"windows": [{"not_readable": why}]})) == (
        "no known meter measures the board's power"
    )
    assert energy.unreadable(Series(np.ones(1), np.ones(1), 1, METHOD, {}))
    assert energy.unreadable(series([window(noisy(60))])) == ""


def test_other_checks_have_energy_details_only_where_known() -> None:
    """Other checks have mean power and joules in their details only if the power is known."""
    details = energy.as_details(series([window(noisy(100))]))["energy"]
    assert details["mean_power"] == pytest.approx(10, rel=0.02)
    assert details["joules"] == pytest.approx(0.1, rel=0.02)
    assert energy.as_details(series([window([None] * 100)])) == {}
    assert energy.as_details(Series(np.ones(1), np.ones(1), 1, METHOD, {})) == {}


def test_timing_continues_only_while_energy_is_unsettled() -> None:
    """Timing continues until the interval is clear of the limit, and only with a limit and a meter."""
    near, clear = at_most(0.1), at_most(0.2)
    assert energy.unsettled(series([window(noisy(100))]), near, 0.99)
    assert not energy.unsettled(series([window(noisy(100))]), clear, 0.99)
    assert not energy.unsettled(series([window(noisy(100))]), None, 0.99)
    assert not energy.unsettled(Series(np.ones(1), np.ones(1), 1, METHOD, {}), near, 0.99)


def test_a_sum_of_rails_is_another_method() -> None:
    """The method names the rails, so that only energies of the same meters are compared."""
    board_rail = energy.method(series([window(noisy(60))]))
    sum_of_rails = energy.method(series([window(noisy(60), sources={energy.POWER: "sum of GPU, CPU"})]))
    assert board_rail != sum_of_rails


@given(st.floats(0.5, 60), st.floats(0.01, 0.2), st.integers(0, 20), st.floats(0.5, 2.0))
def test_the_verdict_follows_the_true_power(mean: float, spread: float, seed: int, share: float) -> None:
    """A limit well under the true energy never passes, and one well over it never fails."""
    measured = series([window(noisy(120, mean, spread * mean, seed))])
    verdict = energy.inference(measured, at_most(mean * 0.01 * share), 0.99).verdict
    assert verdict is not Verdict.PASSED or share > 0.9
    assert verdict is not Verdict.FAILED or share < 1.1


def test_the_power_of_the_control_does_not_count() -> None:
    """Power and time while the control ran do not count."""
    facts = window(noisy(80) + [30.0] * 8 + noisy(100, seed=1))
    plain = series([facts])
    pause = (facts["t"][80], facts["t"][87] + STEP / 2)
    ran = (plain.start + 0.01 <= pause[0]) | (plain.start >= pause[1])
    first = int((plain.start + 0.01 <= pause[0]).sum())
    segments = [first, int(ran.sum()) - first]
    counted = {**facts, "n": int(ran.sum()), "segments": segments}
    start = plain.start[ran]
    paused = Series(start, np.full(start.size, 0.01), 1, METHOD, {"windows": [counted], "looks": 1})
    value, low, high = reading(energy.inference(paused, at_most(1.0), 0.95))
    assert value == pytest.approx(0.1, rel=0.02)
    assert low < 0.1 < high
    unmarked = replace(paused, facts={"windows": [{**counted, "segments": [start.size]}], "looks": 1})
    assert reading(energy.inference(unmarked, at_most(1.0), 0.95))[0] > 0.105
