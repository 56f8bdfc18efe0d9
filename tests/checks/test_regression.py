"""How a regression could pass by accident, one test each; then what it is for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from hil.baseline import Baseline, Level, machine
from hil.checks.regression import MeasuredRow, Rules, by_runs, exactly, missing
from hil.results import Cause, Judgement, Limit, Measurement, Sense, Verdict
from hil.series import digest_of

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
    """A fit level: one session of five quiet runs of a second, a day old."""
    told: dict[str, Any] = {
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
    }
    return Level(**{**told, **changes})


def baseline(**changes: Any) -> Baseline:
    """Return a baseline with the one level of ``level``."""
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


def test_the_same_again_passes() -> None:
    """Five quiet runs against five pass: 5 % worse is excluded, and the detectable change is reported."""
    found = by_runs(baseline(), measured(), LIMIT, RULES)
    assert found.verdict is Verdict.PASSED
    assert "5 % worse is excluded at 99 %; would have detected" in found.reason
    assert found.measurement is not None
    assert (found.measurement.unit, found.measurement.n) == ("1", 5)


@pytest.mark.parametrize(
    ("given", "told"),
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
        (baseline(runs=("bbbb0000",)), "is this very run"),
        (baseline(runs=("aaaa0000", "bbbb0000"), sessions=(QUIET, QUIET)), "is this very run"),
        (baseline(unit="ms"), "is in 'ms', this run in 's'"),
        (baseline(methods=("0" * 64,)), "by another method"),
        (baseline(methods=(digest_of(METHOD), "0" * 64)), "by another method"),
        (baseline(methods=()), "by another method"),
        (baseline(methods=("",)), "by another method"),
        (baseline(machines=("serial 143",)), "serial 143, this run of serial 142: a change may be the machine's"),
        (baseline(machines=("serial 142", "serial 143")), "confounded"),
        (baseline(machines=("",)), "an unknown machine"),
        (baseline(newest=(NOW - timedelta(days=91)).isoformat()), "is 91 days old (measure.baseline_age is 90 days)"),
        (baseline(newest=(NOW + timedelta(days=1)).isoformat()), "is dated in the future"),
    ],
)
@pytest.mark.parametrize("judge", [by_runs, exactly])
def test_without_a_fit_baseline_it_is_not_run(judge: Any, given: Baseline | None, told: str) -> None:
    """Missing, empty, stale, of this run, of another row, unit, method or machine: not run, and what to do is said."""
    found = judge(given, measured(), LIMIT, RULES)
    assert (found.verdict, found.cause) == (Verdict.NOT_RUN, Cause.NO_BASELINE), found.reason
    assert told in found.reason


def test_nobody_compares_two_unknown_machines() -> None:
    """Two machines that nothing is known of are not the same one."""
    assert machine(None, {}) == ""
    found = by_runs(baseline(machines=("",)), measured(machine=""), LIMIT, RULES)
    assert found.cause is Cause.NO_BASELINE


def test_the_differing_fields_of_a_method_are_named() -> None:
    """With both values, and what makes them alike again."""
    other = {**METHOD, "warmup": 2.0}
    given = Baseline(ref="latest", levels=(level(methods=(digest_of(other),)),), methods={digest_of(other): other})
    found = by_runs(given, measured(), LIMIT, RULES)
    assert "(warmup was 2.0, is 0.5): not comparable; to make a new one: pytest --target=orin" in found.reason


def test_a_row_that_was_not_measured_now_is_no_regression_passed() -> None:
    """No number, a number of a disturbed series, or a row that is itself inconclusive settles nothing."""
    broken = judgement(measurement=None, verdict=Verdict.INCONCLUSIVE, cause=None, reason="timing is broken")
    found = by_runs(baseline(), measured(judgement=broken), LIMIT, RULES)
    assert (found.verdict, found.reason.endswith("timing is broken")) == (Verdict.INCONCLUSIVE, True)
    unsupported = judgement(measurement=None, cause=Cause.UNSUPPORTED, reason="no such precision")
    assert by_runs(baseline(), measured(judgement=unsupported), LIMIT, RULES).cause is Cause.UNSUPPORTED
    disturbed = judgement(details={"state": [{"kind": "swap", "source": "outside", "text": "swap grew"}]})
    assert by_runs(baseline(), measured(judgement=disturbed), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE
    drifting = judgement(verdict=Verdict.INCONCLUSIVE, cause=None)
    assert by_runs(baseline(), measured(judgement=drifting), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE


def test_a_baseline_that_was_itself_inconclusive_settles_nothing() -> None:
    """A disturbed run may have been slow: what is slow now is no worse than it."""
    found = by_runs(baseline(doubtful=("aaaa0000",)), measured(), LIMIT, RULES)
    assert found.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("few", [(1.0,), (), QUIET[:4]])
def test_few_runs_are_inconclusive_and_say_how_many(few: tuple[float, ...]) -> None:
    """One run says nothing about the spread, however many samples it has; on either side."""
    found = by_runs(baseline(), measured(few), LIMIT, RULES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "run with --hil-runs=5" in found.reason
    found = by_runs(baseline(sessions=(few or (1.0,),)), measured(), LIMIT, RULES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "make another: pytest --target=orin --hil-runs=5" in found.reason


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_value_without_a_ratio_is_inconclusive(bad: float) -> None:
    """Zero and less have no ratio, for runs and exactly; NaN and infinity are no level to begin with."""
    assert by_runs(baseline(sessions=((*QUIET, bad),)), measured(), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE
    assert by_runs(baseline(), measured((*QUIET, bad)), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE
    assert exactly(baseline(sessions=((bad,),)), measured(), EXACT, RULES).verdict is Verdict.INCONCLUSIVE
    for worse in (float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="finite"):
            level(sessions=((worse,),))


def test_a_worsening_fails_and_a_gain_passes() -> None:
    """2 % over quiet runs, for latency upward and for a rate downward."""
    slower, faster = (tuple(value * factor for value in QUIET) for factor in (1.02, 0.98))
    for lower in (True, False):
        rules = replace(RULES, lower_is_better=lower)
        worse, better = (slower, faster) if lower else (faster, slower)
        found = by_runs(baseline(), measured(worse), LIMIT, rules)
        assert found.verdict is Verdict.FAILED
        assert "more than 1 %, at 99 % over 4 rows; if it is meant: hil accept" in found.reason
        assert found.measurement is not None
        assert found.measurement.value == pytest.approx(0.02, abs=1e-3)
        assert by_runs(baseline(), measured(better), LIMIT, rules).verdict is Verdict.PASSED


def test_noise_that_hides_a_worsening_is_inconclusive_with_what_it_takes() -> None:
    """Not passed because nothing was found: 5 % worse must be excluded; the reason has the number of runs."""
    noisy = (0.97, 1.03, 1.0, 0.96, 1.04)
    found = by_runs(baseline(sessions=(noisy,)), measured(noisy), LIMIT, RULES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "would have detected" in found.reason
    assert "runs on each side would settle it" in found.reason or "runs would be needed" in found.reason


def test_more_rows_take_more_to_fail() -> None:
    """The level is divided among all planned rows: what is called of one alone may be chance among a hundred."""
    shifted = tuple(value * 1.02 for value in (1.0, 1.008, 0.992, 1.004, 0.996))
    given = baseline(sessions=((1.0, 1.008, 0.992, 1.004, 0.996),))
    assert by_runs(given, measured(shifted), LIMIT, replace(RULES, rows=1)).verdict is Verdict.FAILED
    assert by_runs(given, measured(shifted), LIMIT, replace(RULES, rows=1000)).verdict is not Verdict.FAILED


def test_learned_noise_between_sessions_counts() -> None:
    """Two sessions differ by what a calibration learned, though the runs of each agree."""
    shifted = tuple(value * 1.02 for value in QUIET)
    assert by_runs(baseline(), measured(shifted), LIMIT, RULES).verdict is Verdict.FAILED
    assert by_runs(baseline(noise=0.02), measured(shifted), LIMIT, RULES).verdict is Verdict.INCONCLUSIVE


def test_a_level_accepted_is_told() -> None:
    """Who accepted it and why stands in the reason."""
    found = by_runs(baseline(accepted="by ann on 2026-05-01: bigger head"), measured(), LIMIT, RULES)
    assert "a level accepted by ann on 2026-05-01: bigger head" in found.reason


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
def test_exact_values_are_held_against_above(now: float, difference: bool, verdict: Verdict) -> None:
    """A size by its ratio, a loss by the difference; a single run is enough."""
    found = exactly(baseline(sessions=((100.0,),)), measured((now,)), EXACT, RULES, difference=difference)
    assert found.verdict is verdict, found.reason


def test_engines_that_differ_among_themselves_settle_nothing() -> None:
    """Two earlier builds 10 % apart: whichever is chosen decides, so somebody must choose."""
    given = baseline(sessions=((100.0,), (110.0,)), runs=("aaaa0000", "aaaa1111"))
    found = exactly(given, measured((105.0,)), EXACT, RULES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "choose one of aaaa0000, aaaa1111" in found.reason


def test_exact_values_need_no_settled_row() -> None:
    """What is lost on the same data is exact, though too few samples leave its own limit open."""
    open_row = judgement(verdict=Verdict.INCONCLUSIVE, cause=None)
    assert exactly(baseline(), measured(judgement=open_row), EXACT, RULES, difference=True).verdict is Verdict.PASSED


def test_a_missing_baseline_is_known_before_anything_is_timed() -> None:
    """What a session asks first, so that nothing runs for nothing."""
    assert missing(None, KEY, RULES).cause is Cause.NO_BASELINE


def test_few_false_alarms_among_equal_runs() -> None:
    """Both sides from one distribution, 1 % between runs: no more of 400 comparisons fail than 1 % may by chance."""
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(400):
        ours, theirs = (tuple(map(float, rng.lognormal(0, 0.01, 5))) for _ in range(2))
        failed += (
            by_runs(baseline(sessions=(ours,)), measured(theirs), LIMIT, replace(RULES, rows=1)).verdict
            is Verdict.FAILED
        )
    assert failed <= 10
