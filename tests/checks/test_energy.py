"""Energy: joules of the whole board for an inference, and every way in which it must not pass."""

from __future__ import annotations

import math
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
    """A limit of ``joules``."""
    return Limit(value=joules, unit="J", sense=Sense.AT_MOST, source="hil.toml:1 energy")


def window(watts: list[float | None], begin: float = 100.0, **more: Any) -> dict[str, Any]:
    """Telemetry at 10 Hz with these readings."""
    times = [round(begin + STEP * at, 4) for at in range(len(watts))]
    told = {"t": times, "interval": STEP, energy.POWER: watts, "sources": {energy.POWER: "VDD_IN"}, "not_readable": {}}
    return {**told, **more}


def series(windows: list[dict[str, Any]], each: float = 0.01, batch: int = 1) -> Series:
    """Inferences of ``each`` seconds back to back through every window, from half a second in (the warm-up)."""
    starts = []
    for facts in windows:
        begin, end = facts["t"][0] + 0.5, facts["t"][-1]
        starts.append(begin + each * np.arange(int((end - begin) / each)))
    told = [{"n": len(part), **facts} for part, facts in zip(starts, windows, strict=True)]
    start = np.concatenate(starts)
    return Series(start, np.full(start.size, each), batch, METHOD, {"windows": told, "looks": len(windows)})


def noisy(n: int, mean: float = 10.0, spread: float = 0.2, seed: int = 0) -> list[float | None]:
    """Power samples as a meter gives them."""
    return [round(float(each), 3) for each in np.random.default_rng(seed).normal(mean, spread, n)]


def reading(judgement: Judgement) -> tuple[float, float, float]:
    """Value and bounds."""
    one = judgement.measurement
    assert one is not None
    assert one.low is not None
    assert one.high is not None
    return one.value, one.low, one.high


def test_power_times_time_over_inferences() -> None:
    """10 W for 10 ms are 100 mJ, with an interval around it; warm-up and what comes after do not count."""
    watts = noisy(200)
    watts[:5] = [90.0] * 5  # before the first inference
    found = energy.inference(series([window(watts)]), at_most(0.105), 0.99)
    value, low, high = reading(found)
    assert found.verdict is Verdict.PASSED
    assert value == pytest.approx(0.1, rel=0.01)
    assert low < value < high
    assert high - low == pytest.approx(2 * 2.33 * 0.2 / math.sqrt(195) * 0.01, rel=0.3)
    assert "idle power not subtracted" in found.reason
    assert found.details["idle_power"] == "not subtracted"
    assert found.details["power"] == "VDD_IN"


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(0.11, Verdict.PASSED), (0.0999, Verdict.INCONCLUSIVE), (0.1001, Verdict.INCONCLUSIVE), (0.09, Verdict.FAILED)],
)
def test_the_whole_interval_decides(limit: float, verdict: Verdict) -> None:
    """Passed and failed need all of it on one side."""
    assert energy.inference(series([window(noisy(100))]), at_most(limit), 0.99).verdict is verdict


def test_without_a_limit_it_is_only_measured() -> None:
    """A number, and no verdict."""
    found = energy.inference(series([window(noisy(100))]), None, 0.99)
    assert found.verdict is Verdict.NOT_RUN
    assert found.measurement is not None


def test_a_batch_is_one_inference() -> None:
    """The measure is the engine's run; what a sample of it takes is told beside."""
    found = energy.inference(series([window(noisy(100))], batch=4), at_most(1.0), 0.99)
    assert found.details["joules_per_sample"] == pytest.approx(reading(found)[0] / 4)


def test_windows_count_by_their_time() -> None:
    """Two windows of different length and spacing: the energy is that of all the time."""
    long = window(noisy(400, 11.0, 1.0), 200.0)
    thinned = {**long, "t": long["t"][::4], energy.POWER: long[energy.POWER][::4], "interval": 4 * STEP}
    found = series([window(noisy(50, 10.0, 1.0)), thinned])
    seconds = [4.4, 39.1]
    inside = noisy(50, 10.0, 1.0)[5:], thinned[energy.POWER][2:]
    watts = [sum(each or 0.0 for each in part) / len(part) for part in inside]
    mean = (watts[0] * seconds[0] + watts[1] * seconds[1]) / sum(seconds)
    assert reading(energy.inference(found, None, 0.95))[0] == pytest.approx(mean * 0.01, rel=0.003)


def test_a_level_that_shifts_between_windows_is_not_settled() -> None:
    """Power that doubled from one window to the next has no mean yet that could be held against a limit."""
    found = energy.inference(series([window(noisy(50, 10.0)), window(noisy(100, 20.0), 200.0)]), at_most(1e9), 0.95)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_samples_that_hang_together_widen_it() -> None:
    """A meter that renews its reading once a second is worth a tenth of its samples."""
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
def test_what_was_not_measured_never_passes(case: str) -> None:
    """Neither a gap, nor a stuck meter, nor somebody else's samples pass a limit that is never reached."""
    windows, why = CASES[case]
    timed = [window(noisy(len(each["t"])), each["t"][0]) for each in windows]
    if case == "another clock":
        timed = [window(noisy(100))]
    base = series(timed)
    told = [{"n": one["n"], **each} for one, each in zip(base.facts["windows"], windows, strict=True)]
    found = energy.inference(
        Series(base.start, base.duration, 1, METHOD, {"windows": told, "looks": 1}), at_most(1e9), 0.95
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert why in found.reason


def test_a_hole_in_the_samples_is_no_measurement() -> None:
    """Two seconds of which nothing is known are not filled in, at the start, in the middle or at the end."""
    whole = window(noisy(200))
    timed = series([whole])
    for gap in (slice(0, 25), slice(80, 100), slice(175, 200)):
        keep = [at for at in range(200) if at not in range(*gap.indices(200))]
        cut = {**whole, "n": timed.n, **{name: [whole[name][at] for at in keep] for name in ("t", energy.POWER)}}
        found = energy.inference(Series(timed.start, timed.duration, 1, METHOD, {"windows": [cut]}), at_most(1e9), 0.95)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "no power was read for 2" in found.reason


def test_a_lower_limit_is_refused() -> None:
    """An engine is not better for taking more."""
    limit = Limit(value=1.0, unit="J", sense=Sense.AT_LEAST, source="x")
    assert energy.inference(series([window(noisy(100))]), limit, 0.99).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("unit", ["W", "mJ"])
def test_another_unit_is_refused(unit: str) -> None:
    """Watts are no joules."""
    limit = Limit(value=1e9, unit=unit, sense=Sense.AT_MOST, source="x")
    assert energy.inference(series([window(noisy(100))]), limit, 0.99).verdict is Verdict.INCONCLUSIVE


def test_why_there_is_no_power() -> None:
    """The telemetry's own reason is what the user reads; a window that has it is enough to go on."""
    why = {"power.total": "no known meter measures the board's power"}
    assert energy.unreadable(Series(np.ones(1), np.ones(1), 1, METHOD, {"windows": [{"not_readable": why}]})) == (
        "no known meter measures the board's power"
    )
    assert energy.unreadable(Series(np.ones(1), np.ones(1), 1, METHOD, {}))
    assert energy.unreadable(series([window(noisy(60))])) == ""


def test_other_checks_tell_it_only_where_it_is_known() -> None:
    """Mean power and joules beside the latency; nothing, not zero, where they are not known."""
    told = energy.as_details(series([window(noisy(100))]))["energy"]
    assert told["mean_power"] == pytest.approx(10, rel=0.02)
    assert told["joules"] == pytest.approx(0.1, rel=0.02)
    assert energy.as_details(series([window([None] * 100)])) == {}
    assert energy.as_details(Series(np.ones(1), np.ones(1), 1, METHOD, {})) == {}


def test_timing_goes_on_only_where_it_may_help() -> None:
    """Until the power's interval is clear of the limit; never for a board without a meter."""
    near, clear = at_most(0.1), at_most(0.2)
    assert energy.unsettled(series([window(noisy(100))]), near, 0.99)
    assert not energy.unsettled(series([window(noisy(100))]), clear, 0.99)
    assert not energy.unsettled(series([window(noisy(100))]), None, 0.99)
    assert not energy.unsettled(Series(np.ones(1), np.ones(1), 1, METHOD, {}), near, 0.99)


def test_a_sum_of_rails_is_another_method() -> None:
    """Two energies are compared only if the same meters told them."""
    one = energy.method(series([window(noisy(60))]))
    other = energy.method(series([window(noisy(60), sources={energy.POWER: "sum of GPU, CPU"})]))
    assert one != other


@given(st.floats(0.5, 60), st.floats(0.01, 0.2), st.integers(0, 20), st.floats(0.5, 2.0))
def test_a_passed_board_takes_less_than_allowed(mean: float, spread: float, seed: int, share: float) -> None:
    """Whatever the power: half of what it takes never passes as a limit, and twice of it never fails."""
    found = series([window(noisy(120, mean, spread * mean, seed))])
    verdict = energy.inference(found, at_most(mean * 0.01 * share), 0.99).verdict
    assert verdict is not Verdict.PASSED or share > 0.9
    assert verdict is not Verdict.FAILED or share < 1.1
