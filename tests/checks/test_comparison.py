"""The comparison of outputs: each way in which parity must not pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hil.agent.protocol.wire import ITEM_SIZES
from hil.checks.comparison import Comparison
from hil.config.spec import Precision, ToleranceSpec, TolerancesSpec
from hil.results import Judgement, Sense, Verdict

if TYPE_CHECKING:
    from hil.checks.blocks import Outputs

BOXES = np.arange(1, 25, dtype=np.float32).reshape(4, 6)
SCORES = np.linspace(0.1, 0.9, 12, dtype=np.float32).reshape(4, 3)
REFERENCE: Outputs = [("boxes", BOXES), ("scores", SCORES)]


def judge(
    reference: list[Outputs],
    candidate: list[Outputs],
    precision: Precision = "fp32",
    spec: TolerancesSpec | None = None,
    samples: int | None = None,
) -> Judgement:
    """Return the judgement on two streams of batches."""
    return Comparison(precision, spec, samples=samples).consume(reference, candidate).judge()


def changed(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    """Return a copy with one element changed."""
    copy = np.array(array)
    copy[index] = value
    return copy


def test_equal_outputs_pass() -> None:
    """Identical outputs pass at every precision, in any order."""
    for precision in ("fp32", "tf32", "fp16", "bf16", "int8"):
        assert judge([REFERENCE] * 2, [REFERENCE[::-1]] * 2, precision).verdict is Verdict.PASSED


STRUCTURES: dict[str, tuple[list[Outputs], list[Outputs]]] = {
    "no iterations on either side": ([], []),
    "three iterations against one": ([REFERENCE] * 3, [REFERENCE]),
    "one iteration against three": ([REFERENCE], [REFERENCE] * 3),
    "no outputs at all": ([[]], [[]]),
    "one of two outputs is missing": ([REFERENCE], [REFERENCE[:1]]),
    "an extra output, NaN throughout": ([REFERENCE], [[*REFERENCE, ("more", np.full((4, 1), np.nan, np.float32))]]),
    "an extra output, sound": ([REFERENCE], [[*REFERENCE, ("more", SCORES)]]),
    "an output renamed": ([REFERENCE], [[("boxes", BOXES), ("score", SCORES)]]),
    "names swapped": ([REFERENCE], [[("scores", BOXES), ("boxes", SCORES)]]),
    "an output given twice": ([REFERENCE], [[*REFERENCE, ("scores", SCORES)]]),
    "both arrays empty": ([[("y", np.empty((0, 3), np.float32))]], [[("y", np.empty((0, 3), np.float32))]]),
    "one output empty": (
        [[("x", BOXES), ("y", np.empty((4, 0), np.float32))]],
        [[("x", BOXES), ("y", np.empty((4, 0), np.float32))]],
    ),
    "empty where the reference has detections": ([[("y", BOXES)]], [[("y", BOXES[:0])]]),
    "detections where the reference is empty": ([[("y", BOXES[:0])]], [[("y", BOXES)]]),
    "empty in one batch of many": ([[("y", BOXES)]] * 9, [*[[("y", BOXES)]] * 8, [("y", BOXES[:0])]]),
    "detections in one batch of many": ([*[[("y", BOXES)]] * 8, [("y", BOXES[:0])]], [[("y", BOXES)]] * 9),
    "classes where the reference has none": (
        [[("y", np.empty((0, 4), np.int64))]],
        [[("y", np.ones((1, 4), np.int64))]],
    ),
    "int8 against uint8": ([[("y", np.ones((4, 2), np.int8))]], [[("y", np.ones((4, 2), np.uint8))]]),
    "float32 against float64": ([[("y", BOXES)]], [[("y", BOXES.astype(np.float64))]]),
    "another shape, as many elements": ([[("y", BOXES)]], [[("y", BOXES.reshape(6, 4))]]),
    "broadcastable shapes": ([[("y", np.ones((4, 3), np.float32))]], [[("y", np.ones((4, 1), np.float32))]]),
    "text": ([[("y", np.array([["a"]]))]], [[("y", np.array([["a"]]))]]),
    "objects": ([[("y", np.array([[None]], dtype=object))]], [[("y", np.array([[None]], dtype=object))]]),
    "NaN where the reference is finite": ([[("y", BOXES)]], [[("y", changed(BOXES, (2, 1), np.nan))]]),
    "infinity where the reference is finite": ([[("y", BOXES)]], [[("y", changed(BOXES, (2, 1), np.inf))]]),
    "finite where the reference is NaN": ([[("y", changed(BOXES, (2, 1), np.nan))]], [[("y", BOXES)]]),
    "infinity of the other sign": (
        [[("y", changed(BOXES, (0, 0), np.inf))]],
        [[("y", changed(BOXES, (0, 0), -np.inf))]],
    ),
    "nothing finite on either side": (
        [[("y", np.full((4, 2), np.nan, np.float32))]],
        [[("y", np.full((4, 2), np.nan, np.float32))]],
    ),
    "other outputs in the second batch": ([REFERENCE, REFERENCE[:1]], [REFERENCE, REFERENCE[:1]]),
}


@pytest.mark.parametrize("case", STRUCTURES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_wrong_structure_is_fatal(case: str, precision: Precision) -> None:
    """Outputs that are not comparable fail under any tolerance."""
    anything = TolerancesSpec(max_rel=1e9, max_abs=1e9, rmse=1e9, cosine=-1, sqnr_db=-1e9)
    reference, candidate = STRUCTURES[case]
    assert judge(reference, candidate, precision, anything).verdict is Verdict.FAILED


def test_empty_on_both_sides_is_equal() -> None:
    """Batches in which neither side detects anything count as compared, beside batches with detections."""
    outputs: list[Outputs] = [[("y", BOXES)], [("y", BOXES[:0])], [("y", BOXES)]]
    judgement = Comparison("fp32", batch=1, samples=3).consume(outputs, outputs).judge()
    assert judgement.verdict is Verdict.PASSED
    assert judgement.details["samples"] == 3


def test_fewer_samples_than_declared_fail() -> None:
    """Fewer samples than declared fail, even if both sides have the same number."""
    assert judge([REFERENCE], [REFERENCE], samples=8).verdict is Verdict.FAILED
    assert judge([REFERENCE] * 2, [REFERENCE] * 2, samples=8).verdict is Verdict.PASSED


def test_a_fatal_update_is_final() -> None:
    """After a fatal update a sound one does not make the comparison pass."""
    comparison = Comparison("fp32")
    comparison.update(REFERENCE, REFERENCE[:1])
    comparison.update(REFERENCE, REFERENCE)
    assert comparison.judge().verdict is Verdict.FAILED


def test_a_batch_without_samples_is_a_fault() -> None:
    """A batch of no samples fails the comparison."""
    comparison = Comparison("fp32")
    comparison.update(REFERENCE, REFERENCE, samples=0)
    assert "no sample" in comparison.judge().reason


def test_equal_non_finite_elements_are_left_out() -> None:
    """Elements that are the same NaN or infinity on both sides are ignored; the others are compared."""
    odd = changed(changed(BOXES, (0, 0), np.nan), (1, 1), -np.inf)
    assert judge([[("y", odd)]], [[("y", odd)]]).verdict is Verdict.PASSED
    assert judge([[("y", odd)]], [[("y", odd + np.float32(1))]]).verdict is Verdict.FAILED


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_every_value_times_ten_fails(precision: Precision) -> None:
    """Outputs of ten times the scale fail although their cosine is 1."""
    judgement = judge([[("y", BOXES)]], [[("y", BOXES * 10)]], precision, TolerancesSpec(cosine=0.9))
    assert judgement.verdict is Verdict.FAILED


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_one_ruined_sample_of_a_thousand_does_not_pass(precision: Precision) -> None:
    """One bad sample of a thousand does not pass, and is named."""
    good = np.random.default_rng(0).normal(0, 1, (1000, 10)).astype(np.float32)
    bad = good.copy()
    bad[500] = -bad[500]
    judgement = judge([[("y", good)]], [[("y", bad)]], precision)
    assert judgement.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE}
    assert "sample 500" in judgement.reason


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_half_garbage_fails(precision: Precision) -> None:
    """49 % wrong samples fail."""
    good = np.random.default_rng(0).normal(0, 1, (100, 10)).astype(np.float32)
    bad = good.copy()
    bad[:49] = np.random.default_rng(1).normal(0, 1, (49, 10))
    assert judge([[("y", good)]], [[("y", bad)]], precision).verdict is Verdict.FAILED


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_cosine_that_is_undefined_is_not_one(value: float) -> None:
    """Zeros on one side have no cosine, so the comparison fails."""
    ours = np.full((4, 3), value, np.float32)
    theirs = np.full((4, 3), 1 - value, np.float32)
    judgement = judge([[("y", ours)]], [[("y", theirs)]], "int8", TolerancesSpec(max_rel=1e9, sqnr_db=-1e9))
    assert judgement.verdict is Verdict.FAILED


def test_values_too_large_to_square_do_not_pass() -> None:
    """Values whose squares overflow have undefined metrics, which fail under any bound."""
    huge = np.full((2, 3), 1e200)
    judgement = judge([[("y", huge)]], [[("y", -huge)]], "int8", TolerancesSpec(max_rel=1e9, cosine=-1, sqnr_db=-1e9))
    assert judgement.verdict is Verdict.FAILED


def test_integers_may_not_differ_by_default() -> None:
    """An integer that differs by one fails without a tolerance, and the reason names the config key ``kind``."""
    ours, off = np.array([[3], [900]]), np.array([[0], [1]])
    assert judge([[("y", ours)]], [[("y", ours)]], "int8").verdict is Verdict.PASSED
    failed = judge([[("y", ours)]], [[("y", ours + off)]], "int8")
    assert failed.verdict is Verdict.FAILED
    assert "[models.NAME.outputs.OUTPUT] kind" in failed.reason
    allowed = TolerancesSpec(outputs={"y": ToleranceSpec(max_abs=1)})
    assert judge([[("y", ours)]], [[("y", ours + off)]], "int8", allowed).verdict is Verdict.PASSED


def test_large_integers_that_look_equal_as_floats_differ() -> None:
    """2**53 and 2**53 + 1 differ, although they are equal as float64."""
    ours = np.array([[2**53]])
    assert judge([[("y", ours)]], [[("y", ours + 1)]]).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    "spec",
    [
        TolerancesSpec(outputs={"box": ToleranceSpec(max_abs=1)}),
        TolerancesSpec(outputs={"box": ToleranceSpec()}),
        TolerancesSpec(outputs={"flag": ToleranceSpec(top1_agreement=0.5)}),
    ],
    ids=["unknown output", "unknown output, empty", "metric that does not apply"],
)
def test_a_tolerance_that_applies_to_no_output_fails(spec: TolerancesSpec) -> None:
    """A tolerance of an unknown output or of a metric that does not apply fails."""
    outputs: list[Outputs] = [[("boxes", BOXES), ("flag", np.ones((4, 1), np.float32))]]
    judgement = judge(outputs, outputs, "fp32", spec)
    assert judgement.verdict is Verdict.FAILED
    assert "applies to no output" in judgement.reason


def test_a_top1_tolerance_without_a_ranked_output_fails() -> None:
    """A top-1 tolerance fails if every output has only one entry."""
    outputs: list[Outputs] = [[("y", np.ones((4, 1), np.float32))]]
    assert judge(outputs, outputs, "fp32", TolerancesSpec(top1_agreement=0.9)).verdict is Verdict.FAILED


def test_top1_agreement_is_a_share_of_samples() -> None:
    """One changed class in four samples is an agreement of 75 %."""
    theirs = SCORES.copy()
    theirs[1] = theirs[1, ::-1]
    spec = TolerancesSpec(slice_error=0.99, top1_agreement=0.8)
    judgement = judge([[("y", SCORES)]], [[("y", theirs)]], "fp32", spec)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.measurement is not None
    assert judgement.measurement.value == 0.75


def test_an_outputs_own_tolerance_has_precedence() -> None:
    """An output's own tolerance replaces the model's and the default, and the limit names its line."""
    spec = TolerancesSpec(max_rel=1e-6, outputs={"scores": ToleranceSpec(max_rel=0.3, slice_error=0.99)})
    theirs: Outputs = [("boxes", BOXES), ("scores", SCORES * np.float32(1.2))]

    def where(*keys: str) -> str:
        return "hil.toml:7 " + ".".join(keys)

    judgement = Comparison("fp32", spec, where=where).consume([REFERENCE], [theirs]).judge()
    assert judgement.verdict is Verdict.PASSED
    assert judgement.limit is not None
    assert judgement.limit.source == "hil.toml:7 outputs.scores.max_rel"
    assert judgement.limit.value == 0.3


def test_a_failure_names_output_sample_and_elements() -> None:
    """The worst output is first, with its worst elements as obtained and expected."""
    theirs: Outputs = [("boxes", BOXES), ("scores", changed(SCORES, (2, 1), 5.0))]
    judgement = judge([REFERENCE] * 2, [REFERENCE, theirs])
    assert "'scores'" in judgement.reason
    assert "sample 6" in judgement.reason
    worst = judgement.details["outputs"][0]["worst"][0]
    assert (worst["sample"], worst["index"], worst["obtained"]) == (6, [1], 5.0)
    assert worst["expected"] == pytest.approx(SCORES[2, 1])
    assert judgement.limit is not None
    assert judgement.limit.sense is Sense.AT_MOST


def test_outputs_without_a_batch_axis_are_one_sample() -> None:
    """If the outputs have different first axes, a batch counts as one sample."""
    many: list[Outputs] = [[("boxes", np.ones((7, 4), np.float32)), ("count", np.array(7))]]
    judgement = judge(many * 3, many * 3)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.details["samples"] == 3


def test_the_declared_batch_counts_samples() -> None:
    """With a declared batch of one, seven boxes of an image are one sample."""
    boxes: list[Outputs] = [[("boxes", np.ones((7, 4), np.float32))]]
    passed = Comparison("fp32", samples=3, batch=1).consume(boxes * 3, boxes * 3).judge()
    assert (passed.verdict, passed.details["samples"]) == (Verdict.PASSED, 3)
    for batches in (2, 4):
        judgement = Comparison("fp32", samples=3, batch=1).consume(boxes * batches, boxes * batches).judge()
        assert judgement.verdict is Verdict.FAILED


ARRAYS = hnp.arrays(np.float32, (6, 4), elements=st.floats(-1e3, 1e3, width=32))


@given(ARRAYS, ARRAYS, st.integers(1, 6))
def test_batch_boundaries_do_not_change_the_result(ours: np.ndarray, theirs: np.ndarray, size: int) -> None:
    """The division into batches changes neither metrics nor verdict."""

    def batches(array: np.ndarray) -> list[Outputs]:
        return [[("y", array[start : start + size])] for start in range(0, 6, size)]

    whole = judge([[("y", ours)]], [[("y", theirs)]], "fp16")
    parts = judge(batches(ours), batches(theirs), "fp16")
    assert parts.verdict is whole.verdict
    one, other = (j.details["outputs"][0]["metrics"] for j in (whole, parts))
    assert one == {k: pytest.approx(v, rel=1e-9, abs=1e-9) if isinstance(v, float) else v for k, v in other.items()}


@given(ARRAYS, ARRAYS, st.sampled_from([0.0, 1e-7, 1e-6, 1e-5, 1.0]))
@example(np.full((6, 4), 3, np.float32), np.ones((6, 4), np.float32), 1e-6)
def test_a_pass_means_every_element_is_near(ours: np.ndarray, other: np.ndarray, apart_by: float) -> None:
    """In a passed comparison of few samples no element differs by more than a tenth of the largest reference."""
    theirs = (ours + np.float32(apart_by) * other).astype(np.float32)
    verdict = judge([[("y", ours)]], [[("y", theirs)]], "fp16").verdict
    if verdict is Verdict.PASSED:
        apart = np.abs(ours.astype(np.float64) - theirs).max()
        assert apart <= 0.1 * np.abs(ours).max() + 1e-12
    else:
        assert apart_by or not ours.any()


@given(hnp.arrays(np.float32, (3, 4)), hnp.arrays(np.float32, (3, 4)))
def test_any_floats_are_judged_without_a_crash(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Any floats, also NaN, infinity and denormals, give a verdict with valid JSON details."""
    details = judge([[("y", ours)]], [[("y", theirs)]], "int8").model_dump_json()
    assert "NaN," not in details
    assert not math.isnan(len(details))


@pytest.mark.parametrize("dtype", sorted(ITEM_SIZES))
@pytest.mark.parametrize("shape", [(4,), (4, 3), ()], ids=str)
def test_every_dtype_is_compared(dtype: str, shape: tuple[int, ...]) -> None:
    """Equal outputs of any type and rank pass; half of one element of a float, or another integer, fails."""
    ours = np.ones(shape, np.float32).astype(dtype)
    theirs = ours.reshape(-1).copy()
    theirs[0] = np.array(0.5 if "float" in dtype else 0, np.float32).astype(dtype)
    assert judge([[("y", ours)]], [[("y", ours.copy())]]).verdict is Verdict.PASSED
    assert judge([[("y", ours)]], [[("y", theirs.reshape(shape))]]).verdict is Verdict.FAILED
