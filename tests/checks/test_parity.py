from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks import int8, parity
from hil.checks.comparison import Comparison
from hil.checks.parity import DataFacts, Overlap, Scores
from hil.config.spec import TolerancesSpec
from hil.results import Cause, Verdict

if TYPE_CHECKING:
    from hil.checks.blocks import Outputs

SOUND = DataFacts(count=500, synthetic=False, has_labels=True, task="classification", declared=500, distinct=500)


def test_real_data_outside_of_training_passes() -> None:
    """Enough real labelled samples that are not in the training data pass."""
    judgement = parity.data(replace(SOUND, training=Overlap(0, (), 500, 1000)))
    assert judgement.verdict is Verdict.PASSED
    assert "none of them among 1000" in judgement.reason


def test_an_input_that_seems_to_be_a_state_without_carry_is_named() -> None:
    """If an input seems to be a state but has no ``carry``, the data passes, and the reason names input and output."""
    judgement = parity.data(replace(SOUND, states={"h": "hn"}))
    assert judgement.verdict is Verdict.PASSED
    assert "input 'h' seems to be a state, but has no carry: if it is one, write carry = 'hn'" in judgement.reason


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"count": 0, "declared": None}, Verdict.FAILED),
        ({"declared": 501}, Verdict.FAILED),
        ({"has_labels": False}, Verdict.FAILED),
        ({"training": Overlap(3, ("a", "b", "c"), 500, 1000)}, Verdict.FAILED),
        ({"training": Overlap(0, (), 0, 1000)}, Verdict.FAILED),
        ({"training": Overlap(0, (), 500, 0)}, Verdict.FAILED),
        ({"synthetic": True}, Verdict.WARNED),
        ({"count": 9, "declared": 9}, Verdict.WARNED),
        ({"distinct": 1}, Verdict.WARNED),
        ({"count": 12, "declared": None, "distinct": 9}, Verdict.WARNED),
        ({"exchanged": {"h": "hn", "c": "cn"}}, Verdict.WARNED),
    ],
)
def test_data_that_proves_nothing_never_passes(change: dict[str, object], verdict: Verdict) -> None:
    """Missing, unlabelled, trained-on, synthetic, few or repeated samples never pass."""
    assert parity.data(replace(SOUND, **change)).verdict is verdict  # type: ignore[arg-type]  # a dict of changes is looser than the fields


@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_overlap_counts_every_shared_sample(ours: list[str], theirs: list[str]) -> None:
    """The number of shared samples is exact, and both sides' sizes are returned."""
    shared = parity.overlap(iter(ours), iter(theirs))
    assert shared.count == sum(digest in theirs for digest in ours)
    assert (shared.checked, shared.against) == (len(ours), len(set(theirs)))


def hits(n: int, missed: int = 0) -> np.ndarray:
    """Return ``n`` scores of which ``missed`` are misses."""
    scores = np.ones(n)
    scores[:missed] = 0
    return scores


@pytest.mark.parametrize("key", ["top1_drop", "error_increase", "score_drop"])
def test_copies_of_a_sample_count_once(key: str) -> None:
    """The interval depends on the number of distinct samples, not on all of them."""
    spread = 1 + np.random.default_rng(0).random(400)
    spec = TolerancesSpec.model_validate({key: 0.01})
    whole = parity.task(Scores(key, spread * 0 + 1, spread * 0 + 1, distinct=400), "int8", spec)
    few = parity.task(Scores(key, spread * 0 + 1, spread * 0 + 1, distinct=1), "int8", spec)
    assert (whole.verdict, few.verdict) == (Verdict.PASSED, Verdict.INCONCLUSIVE)
    assert few.measurement is not None
    assert few.measurement.n == 1
    assert "1 distinct of 400 samples" in few.reason
    ends = []
    for distinct in (400, 100):
        measurement = parity.task(Scores(key, spread, spread[::-1], distinct=distinct), "int8", spec).measurement
        assert measurement is not None
        assert measurement.low is not None
        ends.append(measurement.value - measurement.low)
    assert ends[1] == pytest.approx(min(2 * ends[0], 1.0), rel=1e-6)


@pytest.mark.parametrize(
    ("n", "lost", "verdict"),
    [
        (500, 0, Verdict.PASSED),
        (500, 1, Verdict.PASSED),
        (500, 4, Verdict.INCONCLUSIVE),
        (500, 5, Verdict.INCONCLUSIVE),
        (500, 6, Verdict.FAILED),
        (298, 0, Verdict.INCONCLUSIVE),
        (299, 0, Verdict.PASSED),
        (1, 0, Verdict.INCONCLUSIVE),
        (10, 1, Verdict.FAILED),
    ],
)
def test_a_pass_needs_enough_samples_to_exclude_the_loss(n: int, lost: int, verdict: Verdict) -> None:
    """An equal engine passes if the samples can exclude a loss of 1 %; an observed loss over 1 % fails."""
    judgement = parity.task(Scores("top1_drop", hits(n), hits(n, lost)), "int8", TolerancesSpec(top1_drop=0.01))
    assert judgement.verdict is verdict, judgement.reason


def test_a_reference_that_is_never_right_has_nothing_to_lose() -> None:
    """If the reference scores nothing, the row is inconclusive."""
    judgement = parity.task(Scores("top1_drop", np.zeros(400), np.zeros(400)), "fp32", None)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "labels" in judgement.reason


def test_a_gain_passes() -> None:
    """An engine that scores better than the reference passes."""
    judgement = parity.task(Scores("top1_drop", hits(500, 5), hits(500)), "fp32", None)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.limit is not None
    assert judgement.limit.source.startswith("default")


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([], [], Verdict.INCONCLUSIVE),
        ([1.0] * 500, [1.0] * 499, Verdict.FAILED),
        ([1.0] * 500, [math.nan] * 500, Verdict.FAILED),
        ([math.nan] * 500, [1.0] * 500, Verdict.FAILED),
    ],
)
def test_unpaired_scores_never_pass(ours: list[float], theirs: list[float], verdict: Verdict) -> None:
    """Without samples the task is inconclusive; unpaired or non-finite scores fail."""
    assert parity.task(Scores("top1_drop", np.array(ours), np.array(theirs)), "fp32").verdict is verdict


def test_an_unscored_task_states_the_reason() -> None:
    """Without scores the row is inconclusive with the caller's reason."""
    judgement = parity.task(None, "fp32", why_not="the data has no labels")
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, "the data has no labels")


def test_an_error_may_increase_by_a_share() -> None:
    """For errors, lower is better, and the limit is a share of the reference's mean error."""
    error = np.random.default_rng(0).uniform(1, 2, 500)
    allowed = TolerancesSpec(error_increase=0.1)
    assert parity.task(Scores("error_increase", error, error * 1.05), "int8", allowed).verdict is Verdict.PASSED
    assert parity.task(Scores("error_increase", error, error * 1.2), "int8", allowed).verdict is Verdict.FAILED
    assert parity.task(Scores("error_increase", error, error * 0.1), "int8", allowed).verdict is Verdict.PASSED


def test_an_error_over_a_perfect_reference_fails() -> None:
    """An engine with an error fails if the reference has none."""
    judgement = parity.task(Scores("error_increase", np.zeros(500), np.ones(500)), "int8", TolerancesSpec())
    assert judgement.verdict is Verdict.FAILED


def test_a_callables_score_needs_its_tolerance() -> None:
    """A callable's score has no default tolerance, so without one the row is not run."""
    scores = Scores("score_drop", hits(500), hits(500))
    judgement = parity.task(scores, "fp32", None)
    assert (judgement.verdict, judgement.cause) == (Verdict.NOT_RUN, Cause.NO_LIMIT)
    assert parity.task(scores, "fp32", TolerancesSpec(score_drop=0.1)).verdict is Verdict.PASSED


def test_a_tolerance_of_another_task_fails() -> None:
    """A tolerance that does not apply to the task fails."""
    judgement = parity.task(Scores("error_increase", hits(500), hits(500)), "fp32", TolerancesSpec(top1_drop=0.01))
    assert judgement.verdict is Verdict.FAILED
    assert "applies to no score" in judgement.reason


OUTPUTS: Outputs = [("x", np.array([[1.0, np.nan]], np.float32)), ("y", np.array([[2]]))]


def test_identical_runs_are_repeatable() -> None:
    """Runs that are equal bit for bit pass, NaN included."""
    copies: list[Outputs] = [[(name, array.copy()) for name, array in OUTPUTS] for _ in range(3)]
    assert parity.repeatable(copies).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("again", "verdict"),
    [
        ([("x", np.array([[1.0000001, np.nan]], np.float32)), OUTPUTS[1]], Verdict.FAILED),
        ([("x", np.array([[1.0, np.nan]])), OUTPUTS[1]], Verdict.FAILED),
        ([("x", np.array([1.0, np.nan], np.float32)), OUTPUTS[1]], Verdict.FAILED),
        (OUTPUTS[:1], Verdict.FAILED),
        (OUTPUTS[::-1], Verdict.FAILED),
        ([], Verdict.FAILED),
    ],
    ids=["bits", "dtype", "shape", "missing", "order", "none"],
)
def test_a_differing_repetition_fails(again: Outputs, verdict: Verdict) -> None:
    """A repetition that differs in a bit, dtype, shape, order or output fails."""
    assert parity.repeatable([OUTPUTS, again]).verdict is verdict


@pytest.mark.parametrize(
    ("first", "again", "words"),
    [
        (np.array([0.0, 1.0]), np.array([-0.0, 1.0]), "'x': the sign of a 0 or the bits of a NaN"),
        (np.array([2**60, 1]), np.array([2**60 + 1, 1]), "'x': 1 elements, by up to 1"),
        (np.array([np.nan, 1.0]), np.array([np.nan, 3.0]), "'x': 1 elements, by up to 2"),
    ],
)
def test_a_differing_repetition_states_how(first: Any, again: Any, words: str) -> None:
    """A difference that float64 does not show is stated as it is, never as one of 0 elements."""
    assert words in parity.repeatable([[("x", first)], [("x", again)]]).reason


@pytest.mark.parametrize("runs", [[], [OUTPUTS], [[], []], [[("x", np.empty((0, 2)))]] * 2])
def test_without_a_repetition_nothing_passes(runs: list[Outputs]) -> None:
    """No run, one run, no outputs or empty outputs never pass."""
    assert parity.repeatable(runs).verdict is not Verdict.PASSED


CALIBRATED = int8.CalibrationFacts(declared=256, consumed=256, declared_digest="ab", consumed_digest="ab")


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.PASSED),
        ({"consumed": 0, "declared": 0}, Verdict.FAILED),
        ({"consumed": 255}, Verdict.FAILED),
        ({"consumed_digest": "cd"}, Verdict.FAILED),
        ({"consumed_digest": "", "declared_digest": ""}, Verdict.FAILED),
        ({"synthetic": True}, Verdict.WARNED),
        ({"foreign": True, "consumed": 0}, Verdict.WARNED),
    ],
)
def test_calibration_must_use_the_declared_data(change: dict[str, object], verdict: Verdict) -> None:
    """The consumed samples must be exactly the declared ones; synthetic or foreign data is a warning."""
    assert int8.calibration(replace(CALIBRATED, **change)).verdict is verdict  # type: ignore[arg-type]  # a dict of changes is looser than the fields


CACHE = int8.CacheFacts(
    recorded={"model": "a", "data": "b"},
    recomputed={"model": "a", "data": "b"},
    scales={"x": [0.1], "w": [0.1, 0.2]},
    zero_points={"x": [0], "w": [0, 0]},
    quantizable=("x", "w", "v"),
    skipped={"v": "excluded"},
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recomputed": {"model": "c", "data": "b"}}, "model"),
        ({"recomputed": {"model": "a"}}, "data"),
        ({"recorded": {}, "recomputed": {}}, "no key"),
        ({"scales": {}}, "no scales"),
        ({"scales": {"x": [0.1], "w": []}}, "no scales"),
        ({"scales": {"x": [0.0], "w": [0.1]}}, "positive"),
        ({"scales": {"x": [math.nan], "w": [0.1]}}, "positive"),
        ({"scales": {"x": [math.inf], "w": [0.1]}}, "positive"),
        ({"scales": {"x": [-0.1], "w": [0.1]}}, "positive"),
        ({"zero_points": {"x": [128]}}, "zero points"),
        ({"skipped": {}}, "no range"),
    ],
)
def test_unusable_ranges_fail(change: dict[str, object], reason: str) -> None:
    """Ranges of another model or data, invalid or skewed ones, and a skipped tensor without a reason fail."""
    judgement = int8.cache(replace(CACHE, **change))  # type: ignore[arg-type]  # a dict of changes is looser than the fields
    assert judgement.verdict is Verdict.FAILED
    assert reason in judgement.reason


def test_sound_ranges_pass() -> None:
    """Finite, positive, symmetric, complete ranges with the right key pass; a foreign model needs no key."""
    assert int8.cache(CACHE).verdict is Verdict.PASSED
    assert int8.cache(replace(CACHE, recorded={}, foreign=True)).verdict is Verdict.PASSED
    assert int8.cache(replace(CACHE, scales={}, foreign=True)).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("shared", "verdict"),
    [
        (Overlap(0, (), 500, 256), Verdict.PASSED),
        (Overlap(1, ("abcdef",), 500, 256), Verdict.FAILED),
        (Overlap(0, (), 0, 256), Verdict.INCONCLUSIVE),
        (Overlap(0, (), 500, 0), Verdict.INCONCLUSIVE),
    ],
)
def test_validation_and_calibration_must_be_disjoint(shared: Overlap, verdict: Verdict) -> None:
    """One shared sample fails; an empty side is inconclusive."""
    assert int8.disjoint(shared).verdict is verdict


def test_the_cost_of_int8_is_judged_by_task_or_outputs() -> None:
    """The drop is judged by scores if available, else by outputs, else it is inconclusive."""
    spec = TolerancesSpec(top1_drop=0.01)
    assert int8.drop(Scores("top1_drop", hits(500), hits(500)), spec).verdict is Verdict.PASSED
    assert int8.drop(Scores("top1_drop", hits(500), hits(500, 50)), spec).verdict is Verdict.FAILED
    assert int8.drop(Comparison("int8")).verdict is Verdict.FAILED
    assert int8.drop(None).verdict is Verdict.INCONCLUSIVE


def test_few_equal_samples_pass_only_where_the_weaker_claim_is_accepted() -> None:
    """With no_disagreement_in = 48, 48 samples without a disagreement pass; the reason states what they exclude."""
    accepted = TolerancesSpec(no_disagreement_in=48)
    same = Scores("top1_drop", hits(48, 3), hits(48, 3))
    assert parity.task(same, "fp32").verdict is Verdict.INCONCLUSIVE
    judgement = parity.task(same, "fp32", accepted)
    assert judgement.verdict is Verdict.PASSED
    assert "48 samples without a disagreement exclude a loss above 6.1 % at 95 % confidence" in judgement.reason
    assert judgement.details["weaker_claim"] in judgement.reason


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(Scores("top1_drop", hits(47), hits(47)), id="one sample too few"),
        pytest.param(Scores("top1_drop", hits(48, 1), hits(48, 1)[::-1]), id="as many misses, in another sample"),
        pytest.param(Scores("top1_drop", hits(96), hits(96), distinct=47), id="copies"),
        pytest.param(Scores("top1_drop", hits(48, 48), hits(48, 48)), id="the reference gets nothing right"),
        pytest.param(Scores("score_drop", hits(48), hits(48)), id="a score of the user's own"),
    ],
)
def test_the_weaker_claim_needs_its_samples(scores: Scores) -> None:
    """``no_disagreement_in`` needs enough distinct samples, each of them a hit."""
    judgement = parity.task(scores, "fp32", TolerancesSpec(no_disagreement_in=48))
    assert judgement.verdict is not Verdict.PASSED


@pytest.mark.parametrize(
    ("precision", "wrong", "verdict"),
    [
        ("fp16", 1, Verdict.INCONCLUSIVE),
        ("int8", 5, Verdict.INCONCLUSIVE),
        ("fp16", 6, Verdict.FAILED),
        ("fp32", 1, Verdict.FAILED),
    ],
)
def test_few_booleans_may_change_by_rounding(precision: Any, wrong: int, verdict: Verdict) -> None:
    """A flag that is set a step early in an engine that rounds is neither accused nor passed; in FP32 it fails."""
    ours = np.arange(100)[:, None] >= 50
    theirs = np.arange(100)[:, None] >= 50 - wrong
    for dtype, expected in ((bool, verdict), (np.int64, Verdict.FAILED)):
        comparison = Comparison(precision)
        comparison.update([("flag", ours.astype(dtype))], [("flag", theirs.astype(dtype))])
        assert comparison.judge().verdict is expected
        assert not comparison.within()
