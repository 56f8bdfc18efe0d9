"""The regression check: cases in which it must not pass, then the changes that it detects."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from hil.baseline import Baseline, Level, machine
from hil.checks.regression import MeasuredRow, Rules, by_runs, exactly, missing
from hil.results import Cause, ControlSummary, Judgement, Limit, Measurement, Sense, Verdict
from hil.series import digest_of
from hil.stats.runs import NOISE_DF
from hil.stats.session_noise import SessionNoise

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
METHOD = {"version": 1, "warmup": 0.5, "clock": "host"}
KEY = ("latency.p50", "digits", "fp32", "saturated")
QUIET = (1.000, 1.001, 0.999, 1.0005, 0.9995)
LIMIT = Limit(value=0.05, unit="1", sense=Sense.AT_MOST, source="default")
EXACT = Limit(value=0.01, unit="1", sense=Sense.AT_MOST, source="default")
RULES = Rules(
    above=0.01,
    exclude=0.05,
    confidence=0.99,
    rows=4,
    oldest=90 * 86400.0,
    now=NOW,
    again="pytest --target=orin --hil-runs=5",
)


def level(**changes: Any) -> Level:
    """Return a usable level of five runs in one session, a day old, with little noise in runs and between sessions."""
    fields: dict[str, Any] = {
        "check": KEY[0],
        "model": KEY[1],
        "precision": KEY[2],
        "scenario": KEY[3],
        "unit": "s",
        "sessions": (QUIET,),
        "runs": ("aaaa0000",),
        "newest": (NOW - timedelta(days=1)).isoformat(),
        "methods": (digest_of(METHOD),),
        "machines": ("serial 142",),
        "noise": SessionNoise(0.0, NOISE_DF, "calibrated", 40),
    }
    return Level(**{**fields, **changes})


def baseline(**changes: Any) -> Baseline:
    """Return a baseline whose only level is ``level(**changes)``."""
    return Baseline(ref="latest", levels=(level(**changes),), methods={digest_of(METHOD): METHOD})


def measured(values: tuple[float, ...] = QUIET, **changes: Any) -> MeasuredRow:
    """Return a measured row without a limit, with run values; by default the same values as the baseline."""
    value = float(np.median(values)) if values else 1.0
    measurement = Measurement(value=value, unit="s", n=1000, runs=values)
    judgement = Judgement(verdict=Verdict.NOT_RUN, cause=Cause.NO_LIMIT, reason="measured", measurement=measurement)
    return replace(MeasuredRow(KEY, judgement, digest_of(METHOD), METHOD, "serial 142", "bbbb0000"), **changes)


def judgement(**changes: Any) -> Judgement:
    """Return the judgement of the measured row with ``changes``."""
    return measured().judgement.model_copy(update=changes)


def test_equal_runs_pass() -> None:
    """Five equal runs pass: a change of 5 % is excluded, and the detectable change is reported."""
    judged = by_runs(baseline(), measured(), LIMIT, RULES)
    assert judged.verdict is Verdict.PASSED
    assert "5 % worse is excluded at 99 %; would have detected" in judged.reason
    assert judged.measurement is not None
    assert (judged.measurement.unit, judged.measurement.n) == ("1", 5)


@pytest.mark.parametrize(
    ("earlier", "reason"),
    [
        (None, "run again with --hil-baseline=REF"),
        (Baseline(ref="latest", why_not="latest: the history has 0 usable runs"), "0 usable runs; to make a baseline"),
        (Baseline(ref="latest"), "baseline latest has no latency.p50 digits fp32: measure it first: pytest"),
        (baseline(check="latency.p90"), "has no latency.p50"),
        (baseline(model="arm"), "has no latency.p50"),
        (baseline(precision="int8"), "has no latency.p50"),
        (baseline(scenario="paced"), "has no latency.p50"),
        (baseline(sessions=()), "has no latency.p50"),
        (baseline(sessions=((),)), "has no latency.p50"),
        (baseline(runs=("bbbb0000",)), "is this run itself"),
        (baseline(runs=("aaaa0000", "bbbb0000"), sessions=(QUIET, QUIET)), "is this run itself"),
        (baseline(unit="ms"), "is in 'ms', this run in 's'"),
        (baseline(methods=("0" * 64,)), "by another method"),
        (baseline(methods=(digest_of(METHOD), "0" * 64)), "by another method"),
        (baseline(methods=()), "by another method"),
        (baseline(methods=("",)), "by another method"),
        (baseline(machines=("serial 143",)), "serial 143, this run on serial 142: the machine may be the cause"),
        (baseline(machines=("serial 142", "serial 143")), "confounded"),
        (baseline(machines=("",)), "an unknown machine"),
        (baseline(newest=(NOW - timedelta(days=91)).isoformat()), "is 91 days old (measure.baseline_age is 90 days)"),
        (baseline(newest=(NOW + timedelta(days=1)).isoformat()), "is dated in the future"),
    ],
)
@pytest.mark.parametrize("judge", [by_runs, exactly])
def test_without_a_usable_baseline_the_row_is_not_run(judge: Any, earlier: Baseline | None, reason: str) -> None:
    """A baseline that is missing, stale or not comparable makes the row not run, with advice."""
    judged = judge(earlier, measured(), LIMIT, RULES)
    assert (judged.verdict, judged.cause) == (Verdict.NOT_RUN, Cause.NO_BASELINE), judged.reason
    assert reason in judged.reason


def test_two_unknown_machines_are_not_compared() -> None:
    """Two unidentified machines do not count as the same machine."""
    assert machine(None, {}) == ""
    judged = by_runs(baseline(machines=("",)), measured(machine=""), LIMIT, RULES)
    assert judged.cause is Cause.NO_BASELINE


def test_the_differing_fields_of_a_method_are_named() -> None:
    """The reason has the differing field with both values, and the command for a new baseline."""
    other = {**METHOD, "warmup": 2.0}
    earlier = Baseline(ref="latest", levels=(level(methods=(digest_of(other),)),), methods={digest_of(other): other})
    judged = by_runs(earlier, measured(), LIMIT, RULES)
    assert "(warmup was 2.0, is 0.5): not comparable; to make a new baseline: pytest --target=orin" in judged.reason


def test_an_unmeasured_or_inconclusive_row_does_not_pass() -> None:
    """A row without a measurement, of a disturbed series or inconclusive itself does not pass."""
    broken = judgement(measurement=None, verdict=Verdict.INCONCLUSIVE, cause=None, reason="timing is broken")
    judged = by_runs(baseline(), measured(judgement=broken), LIMIT, RULES)
    assert (judged.verdict, judged.reason.endswith("timing is broken")) == (Verdict.INCONCLUSIVE, True)
    unsupported = judgement(measurement=None, cause=Cause.UNSUPPORTED, reason="no such precision")
    assert by_runs(baseline(), measured(judgement=unsupported), LIMIT, RULES).cause is Cause.UNSUPPORTED
    disturbed = judgement(details={"state": [{"kind": "swap", "source": "outside", "text": "swap grew"}]})
    assert by_runs(baseline(), measured(judgement=disturbed), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE
    drifting = judgement(verdict=Verdict.INCONCLUSIVE, cause=None)
    assert by_runs(baseline(), measured(judgement=drifting), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE


def test_a_doubtful_baseline_is_inconclusive() -> None:
    """A baseline of a disturbed run may have been slow, so comparing with it is inconclusive."""
    judged = by_runs(baseline(doubtful=("aaaa0000",)), measured(), LIMIT, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("few", [(1.0,), (), QUIET[:4]])
def test_few_runs_are_inconclusive_with_the_number_needed(few: tuple[float, ...]) -> None:
    """Too few runs on either side are inconclusive, and the reason has the number of runs to make."""
    judged = by_runs(baseline(), measured(few), LIMIT, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "run with --hil-runs=5" in judged.reason
    judged = by_runs(baseline(sessions=(few or (1.0,),)), measured(), LIMIT, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "make another: pytest --target=orin --hil-runs=5" in judged.reason


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_value_without_a_ratio_is_inconclusive(bad: float) -> None:
    """Zero and negative values are inconclusive; a level with NaN or infinity is refused."""
    assert by_runs(baseline(sessions=((*QUIET, bad),)), measured(), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE
    assert by_runs(baseline(), measured((*QUIET, bad)), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE
    assert exactly(baseline(sessions=((bad,),)), measured(), EXACT, RULES).verdict is Verdict.INCONCLUSIVE
    for invalid in (float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="finite"):
            level(sessions=((invalid,),))


def test_a_worse_value_fails_and_a_better_one_passes() -> None:
    """A change of 2 % over runs with little noise fails if worse: up for latency, down for a rate."""
    slower, faster = (tuple(value * factor for value in QUIET) for factor in (1.02, 0.98))
    for lower in (True, False):
        rules = replace(RULES, lower_is_better=lower)
        worse, better = (slower, faster) if lower else (faster, slower)
        judged = by_runs(baseline(), measured(worse), LIMIT, rules)
        assert judged.verdict is Verdict.FAILED
        assert "more than 1 %, at 99 % for all 4 rows together; if it is intended: hil accept" in judged.reason
        assert judged.measurement is not None
        assert judged.measurement.value == pytest.approx(0.02, abs=1e-3)
        assert by_runs(baseline(), measured(better), LIMIT, rules).verdict is Verdict.PASSED


def test_noise_that_may_hide_a_change_is_inconclusive() -> None:
    """Noisy runs that cannot exclude a change of 5 % are inconclusive, with the number of runs needed."""
    noisy = (0.97, 1.03, 1.0, 0.96, 1.04)
    judged = by_runs(baseline(sessions=(noisy,)), measured(noisy), LIMIT, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "would have detected" in judged.reason
    assert "runs on each side would settle it" in judged.reason or "runs would be needed" in judged.reason


def test_the_level_is_divided_among_all_planned_rows() -> None:
    """A change that fails a single row does not fail among a thousand rows, where it may be chance."""
    shifted = tuple(value * 1.02 for value in (1.0, 1.008, 0.992, 1.004, 0.996))
    earlier = baseline(sessions=((1.0, 1.008, 0.992, 1.004, 0.996),))
    assert by_runs(earlier, measured(shifted), LIMIT, replace(RULES, rows=1)).verdict is Verdict.FAILED
    assert by_runs(earlier, measured(shifted), LIMIT, replace(RULES, rows=1000)).verdict is not Verdict.FAILED


def test_learned_noise_between_sessions_counts() -> None:
    """A calibrated noise between sessions widens the interval, even if the runs of each agree."""
    shifted = tuple(value * 1.02 for value in QUIET)
    assert by_runs(baseline(), measured(shifted), LIMIT, RULES).verdict is Verdict.FAILED
    assert (
        by_runs(baseline(noise=SessionNoise(0.02, NOISE_DF, "calibrated", 40)), measured(shifted), LIMIT, RULES).verdict
        is Verdict.INCONCLUSIVE
    )


@pytest.mark.parametrize("noise", [None, SessionNoise(0.001, 4.0, "history", 5)])
@pytest.mark.parametrize("factor", [0.57, 1.06, 1.43])
def test_one_session_of_unknown_noise_neither_fails_nor_passes_a_change(noise: Any, factor: float) -> None:
    """A change in one session of unknown noise is inconclusive, in either direction."""
    judged = by_runs(baseline(noise=noise), measured(tuple(factor * value for value in QUIET)), LIMIT, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "a change of the code cannot be distinguished from a change of the machine" in judged.reason
    assert "runs_needed" not in judged.details
    assert by_runs(baseline(noise=noise), measured(), LIMIT, RULES).verdict is Verdict.PASSED
    several = baseline(noise=noise, sessions=(QUIET,) * 5, runs=tuple(f"aaaa000{at}" for at in range(5)))
    expected = Verdict.PASSED if factor < 1 else Verdict.FAILED
    changed = measured(tuple(factor * value for value in QUIET))
    assert by_runs(several, changed, LIMIT, RULES).verdict is expected, "five sessions show how much they differ"


def test_a_control_is_no_difference_of_the_method() -> None:
    """The methods of baseline and row may differ by the control only; any other difference gives no baseline."""
    timed = {**METHOD, "control": {"workload": "w1", "share": 0.05}}
    row = measured(method=timed, digest=digest_of(timed))
    assert by_runs(baseline(), row, LIMIT, RULES).verdict is Verdict.PASSED
    other = {**timed, "warmup": 1.0}
    judged = by_runs(baseline(), replace(row, method=other, digest=digest_of(other)), LIMIT, RULES)
    assert judged.cause is Cause.NO_BASELINE
    assert "(warmup was 0.5, is 1.0)" in judged.reason


def control(level: float, **changes: Any) -> ControlSummary:
    """Return a control whose median of ``level`` milliseconds is known to 0.5 %."""
    fields = {"workload": "net v1", "windows": 20, "median": level / 1e3, "low": level / 1.005e3, "spread": 0.01}
    return ControlSummary(**{**fields, "high": level * 1.005e-3, "drift_low": -0.01, "drift_high": 0.01, **changes})


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("other", [control(1.4), control(0.7), control(1, drift=0.3, drift_low=0.2, drift_high=0.4)])
def test_a_confounded_row_is_inconclusive(factor: float, other: ControlSummary) -> None:
    """If the control changed, the machine may be the cause: the row neither passes nor fails, whatever it measured."""
    values = tuple(factor * value for value in QUIET)
    for then, now in ((control(1), other), (other, control(1))):
        measurement = Measurement(value=factor, unit="s", n=1000, runs=values, control=now)
        row = measured(judgement=judgement(measurement=measurement), setting="s1")
        judged = by_runs(baseline(controls=(then,), settings=("s1",)), row, LIMIT, RULES)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert judged.reason.startswith("confounded: this machine")
        elsewhere = by_runs(baseline(controls=(then,), settings=("s2",)), row, LIMIT, RULES)
        assert "confounded" not in elsewhere.reason, "another runtime explains another control"


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_a_lowered_clock_is_inconclusive(factor: float) -> None:
    """If a clock was limited to less in this run or in the baseline, the row neither passes nor fails."""
    values = tuple(factor * value for value in QUIET)
    row = measured(judgement=judgement(measurement=Measurement(value=factor, unit="s", n=1000, runs=values)))
    for then, now in ((1.3e9, 6e8), (6e8, 1.3e9)):
        level = baseline(settings=("s1",), clocks=({"gpu": then},))
        judged = by_runs(level, replace(row, setting="s1", clocks={"gpu": now}), LIMIT, RULES)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert judged.reason.startswith("confounded: the gpu clock was limited to 600 MHz on the side of")
        elsewhere = by_runs(level, replace(row, setting="s2", clocks={"gpu": now}), LIMIT, RULES)
        assert "confounded" not in elsewhere.reason, "another power mode explains another clock"


def test_without_a_control_on_one_side_the_row_is_judged_as_before() -> None:
    """If only the row has a control, the row is still judged, without the control."""
    measurement = Measurement(value=1.0, unit="s", n=1000, runs=QUIET, control=control(1.4))
    row = measured(judgement=judgement(measurement=measurement), setting="s1")
    for controls in ((None,), ()):
        judged = by_runs(baseline(controls=controls, settings=("s1",)), row, LIMIT, RULES)
        assert judged.verdict is Verdict.PASSED
        assert judged.details["control"] is None


def test_an_accepted_level_is_named_in_the_reason() -> None:
    """The reason has who accepted the level, when and why."""
    judged = by_runs(baseline(accepted="by ann on 2026-05-01: bigger head"), measured(), LIMIT, RULES)
    assert "a level accepted by ann on 2026-05-01: bigger head" in judged.reason


@pytest.mark.parametrize(
    ("now", "difference", "verdict"),
    [
        (100.0, False, Verdict.PASSED),
        (101.0, False, Verdict.PASSED),
        (101.1, False, Verdict.FAILED),
        (50.0, False, Verdict.PASSED),
        (100.01, True, Verdict.PASSED),
        (100.02, True, Verdict.FAILED),
    ],
)
def test_exact_values_are_compared_with_the_limit(now: float, difference: bool, verdict: Verdict) -> None:
    """A size is compared by its ratio, a loss by its difference; a single run is enough."""
    judged = exactly(baseline(sessions=((100.0,),)), measured((now,)), EXACT, RULES, difference=difference)
    assert judged.verdict is verdict, judged.reason


def test_differing_baseline_engines_are_inconclusive() -> None:
    """If earlier builds differ by 10 %, the row is inconclusive and the reason asks the user to choose one."""
    earlier = baseline(sessions=((100.0,), (110.0,)), runs=("aaaa0000", "aaaa1111"))
    judged = exactly(earlier, measured((105.0,)), EXACT, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "choose one of aaaa0000, aaaa1111" in judged.reason


def test_exact_values_are_judged_for_inconclusive_rows() -> None:
    """A loss on the same data is exact, so it is judged although the row's own limit is inconclusive."""
    open_row = judgement(verdict=Verdict.INCONCLUSIVE, cause=None)
    assert exactly(baseline(), measured(judgement=open_row), EXACT, RULES, difference=True).verdict is Verdict.PASSED


def test_a_missing_baseline_is_reported_before_timing() -> None:
    """``missing`` reports the missing baseline before any measurement."""
    assert missing(None, KEY, RULES).cause is Cause.NO_BASELINE


def test_few_false_alarms_among_equal_runs() -> None:
    """Of 400 comparisons of runs from one distribution, at most 10 fail at a level of 1 %."""
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(400):
        ours, theirs = (tuple(map(float, rng.lognormal(0, 0.01, 5))) for _ in range(2))
        failed += (
            by_runs(baseline(sessions=(ours,)), measured(theirs), LIMIT, replace(RULES, rows=1)).verdict
            is Verdict.FAILED
        )
    assert failed <= 10
