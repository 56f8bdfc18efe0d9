"""Errors of slices are measured by each slice's own scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks.comparison import Comparison
from hil.checks.slices import MOST_SLICES, Slices
from hil.config.spec import PRECISIONS, OutputSpec, Precision, ToleranceSpec, TolerancesSpec
from hil.metrics.agreement.vectors import Values
from hil.results import Judgement, Verdict

ANYTHING = TolerancesSpec(slice_error=0.999, max_rel=1e9, max_abs=1e9, rmse=1e9, cosine=-1, sqnr_db=-1e9)
RNG = np.random.default_rng(3)
NOISE = RNG.normal(0, 1, (24, 6, 50))


def detections(samples: int = 24, places: int = 50) -> np.ndarray:
    """Return a detector's output [samples, 4 + 3, places]: boxes up to 320 and mostly low scores."""
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 320, (samples, 4, places))
    scores = np.where(rng.random((samples, 3, places)) < 0.03, rng.uniform(0.3, 0.9, (samples, 3, places)), 0.001)
    return np.concatenate([boxes, scores], axis=1).astype(np.float32)


def judge(
    reference: np.ndarray,
    engine: np.ndarray,
    precision: Precision = "int8",
    spec: TolerancesSpec | None = None,
    batch: int = 8,
) -> Judgement:
    """Return the judgement on one output ``y``, a batch at a time."""
    comparison = Comparison(precision, spec)
    for start in range(0, len(reference), batch):
        rows = slice(start, start + batch)
        comparison.update([("y", reference[rows])], [("y", engine[rows])], samples=len(reference[rows]))
    return comparison.judge()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_dead_scores_beside_boxes_fail_under_any_tolerance(precision: Precision, layout: str) -> None:
    """Scores that are all zero fail although the error is 1/300 of the largest value, and the slice is named."""
    good = detections() if layout == "channels first" else detections().transpose(0, 2, 1).copy()
    bad = good.copy()
    bad[(slice(None), slice(4, None)) if layout == "channels first" else (..., slice(4, None))] = 0
    judgement = judge(good, bad, precision, ANYTHING)
    assert judgement.verdict is Verdict.FAILED
    axis = 1 if layout == "channels first" else 2
    assert f"output 'y': slice 4 of axis {axis} and 2 more varies in the reference" in judgement.reason
    first = int(np.flatnonzero((good != bad).any(axis=(1, 2)))[0])
    assert f"first at sample {first}" in judgement.reason


@pytest.mark.parametrize("value", [0.0, 1.0, 0.37])
def test_one_class_that_is_constant_fails_under_any_tolerance(value: float) -> None:
    """One class that is dead or saturated fails, and its deviation is stated as 0."""
    bad = detections()
    bad[:, 5] = value
    judgement = judge(detections(), bad, "int8", ANYTHING)
    assert judgement.verdict is Verdict.FAILED
    text = "slice 5 of axis 1 varies in the reference and is constant in the engine (standard deviation 0 instead"
    assert text in judgement.reason


def test_scores_that_are_low_in_every_sample_still_have_to_live() -> None:
    """Scores that never reach 0.25 are still compared: an engine that returns 0 for all of them fails."""
    good = detections()
    good[:, 4:] *= 0.2
    bad = good.copy()
    bad[:, 4:] = 0
    assert judge(good, bad).verdict is Verdict.FAILED


def test_a_class_that_only_the_engine_detects_does_not_pass() -> None:
    """A slice that does not vary in the reference is measured by the scale of the other slices."""
    good = detections()
    good[:, 5] = 0.001
    bad = good.copy()
    bad[:, 5] = detections()[:, 5]
    assert judge(good, bad).verdict is not Verdict.PASSED


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_that_changes_does_not_pass(precision: Precision, value: float) -> None:
    """An output that is constant in the reference is measured by its magnitude."""
    good = np.full((16, 5), value, np.float32)
    assert judge(good, good.copy(), precision).verdict is Verdict.PASSED
    assert judge(good, good + np.float32(1), precision).verdict is not Verdict.PASSED


def test_what_varies_by_rounding_alone_is_not_dead() -> None:
    """A constant with rounding noise is not a live slice, and its loss does not fail."""
    good = np.float32(7) + RNG.normal(0, 4e-7, (64, 3)).astype(np.float32)
    assert judge(good, np.full_like(good, 7), "fp32").verdict is Verdict.PASSED
    still = np.float32(100) + RNG.normal(0, 0.2, (64, 3)).astype(np.float32)  # a camera that does not move
    assert judge(still, np.full_like(still, 100), "int8").verdict is Verdict.PASSED


@pytest.mark.parametrize("axis", [1, 2])
def test_permuted_slices_fail(axis: int) -> None:
    """Slices in another order fail, whatever the axis."""
    good = NOISE.astype(np.float32)
    assert judge(good, np.flip(good, axis).copy()).verdict is Verdict.FAILED


def test_one_sample_is_measured_by_its_own_elements() -> None:
    """With one sample, a slice of one element is measured by the deviation of all elements."""
    good = RNG.normal(0, 1, (1, 20)).astype(np.float32)
    assert judge(good, good * np.float32(1.0001), "fp32").verdict is Verdict.PASSED
    assert judge(good, good[:, ::-1].copy(), "int8").verdict is Verdict.FAILED
    one = np.full((1, 1), 0.5, np.float32)
    assert judge(one, one * np.float32(0.5), "int8").verdict is not Verdict.PASSED


def test_one_element_that_is_zero_but_for_rounding_is_measured_by_the_others() -> None:
    """An element that is 0 but for rounding is measured by the deviation of the others."""
    turns = np.linspace(0, 2 * np.pi, 10, dtype=np.float32)[None]
    exact = (0.42 - 0.5 * np.cos(turns.astype(np.float64)) + 0.08 * np.cos(2 * turns.astype(np.float64))).astype(
        np.float32
    )
    rounded = np.float32(0.42) - np.float32(0.5) * np.cos(turns) + np.float32(0.08) * np.cos(2 * turns)
    assert 0 < np.abs(exact - rounded).max() < 1e-6
    assert judge(exact, rounded, "fp32").verdict is Verdict.PASSED
    wrong = rounded.copy()
    wrong[0, 0] += 0.3
    assert judge(exact, wrong, "int8").verdict is not Verdict.PASSED


def test_answers_of_the_neighbour_in_the_batch_fail() -> None:
    """Outputs that belong to another sample of the batch fail."""
    good = RNG.normal(0, 1, (32, 10)).astype(np.float32)
    assert judge(good, np.roll(good, 1, axis=0)).verdict is Verdict.FAILED


def test_an_axis_whose_size_changes_has_no_slices() -> None:
    """Only axes with the same size in all batches have slices; the others are pooled."""
    slices = Slices()
    for length in (5, 7, 5):
        x = RNG.normal(0, 1, (2, 3, length))
        slices.add(x[None], x[None], None, np.zeros(len(x), int), batched=True)
    assert set(slices.sums) == {-1, 1}
    assert slices.sums[1].n.tolist() == [34.0] * 3


def test_a_declared_axis_is_the_axis_of_the_slices() -> None:
    """A declared axis replaces the shortest one; an axis that the output lacks fails."""
    outputs = [("y", NOISE.astype(np.float32))]
    for axis, found in ((2, 2), (-1, 2), (1, 1)):
        comparison = Comparison("fp32", axes={"y": axis})
        comparison.update(outputs, outputs)
        assert comparison.judge().details["outputs"][0]["slices"]["axis"] == found
    comparison = Comparison("fp32", axes={"y": 3})
    comparison.update(outputs, outputs)
    assert "output 'y' has 3 axes" in comparison.judge().reason


def test_a_map_of_scores_is_one_slice() -> None:
    """A map of scores counts as one slice, a table with boxes has its columns as slices."""
    calm = RNG.uniform(0, 0.01, (16, 1, 40, 40))
    calm[:, :, 10:30] = RNG.uniform(0, 1, (16, 1, 20, 40))
    engine = calm + RNG.normal(0, 3e-4, calm.shape)
    engine[:, :, 10:30] += RNG.normal(0, 3e-3, (16, 1, 20, 40))
    row = judge(calm, engine, "fp16").details["outputs"][0]
    assert row["slices"]["axis"] is None
    assert row["met"]
    table = detections().transpose(0, 2, 1)[:, None, :, :6]
    assert judge(table, table, "fp16").details["outputs"][0]["slices"]["axis"] == 3


def test_the_samples_axis_has_no_slices() -> None:
    """The samples' axis is never an axis of slices."""
    slices = Slices()
    for rows in (4, 4, 1):
        x = RNG.normal(0, 1, (rows, 4))
        slices.add(x[None], x[None], None, np.zeros(len(x), int), batched=True)
    assert set(slices.sums) == {-1, 1}
    many = Slices()
    wide = np.zeros((1, MOST_SLICES + 1))
    many.add(wide[None], wide[None], None, np.zeros(1, int), batched=True)
    assert set(many.sums) == {-1}


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_integers_have_to_vary_too(dtype: type) -> None:
    """With a tolerance for integers, constant integers still fail."""
    good: np.ndarray = (RNG.random((64, 4)) < 0.5).astype(dtype)
    spec = TolerancesSpec(outputs={"y": ToleranceSpec(max_abs=5)})
    assert judge(good, good.copy(), "int8", spec).verdict is Verdict.PASSED
    assert "is constant in the engine" in judge(good, np.zeros_like(good), "int8", spec).reason


def test_equal_masks_of_infinity_are_left_out() -> None:
    """Elements that are infinite on both sides are left out."""
    good = RNG.normal(0, 1, (32, 4)).astype(np.float32)
    good[:, 2] = -np.inf
    good[::2, 1] = np.nan
    assert judge(good, good * np.float32(1 + 1e-5), "fp32").verdict is Verdict.PASSED
    bad = good.copy()
    bad[:, 1] = np.where(np.isnan(good[:, 1]), good[:, 1], 0)
    assert "slice 1 of axis 1" in judge(good, bad, "fp32").reason


def beside_pixels(change: float) -> np.ndarray:
    """Return boxes in pixels and two slices of angles times ``change``; angles vary 400 times less than boxes."""
    angles = np.random.default_rng(1).uniform(-0.8, 0.8, (24, 2, 50)) * change
    return np.concatenate([detections()[:, :4], angles], axis=1).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_small_slice_that_is_constant_fails_in_floating_point(precision: Precision) -> None:
    """A slice that varies little beside pixels fails if it is constant: floating point rounds it by its own size."""
    judgement = judge(beside_pixels(1), beside_pixels(0), precision, ANYTHING)
    assert judgement.verdict is Verdict.FAILED
    assert "slice 4 of axis 1 and 1 more varies in the reference" in judgement.reason


@pytest.mark.parametrize(("precision", "change"), [("int8", 0), ("int8", -1), ("fp16", -1), ("fp16", 3), ("fp32", 0.4)])
def test_a_small_slice_that_is_lost_does_not_pass(precision: Precision, change: float) -> None:
    """A small slice that is wrong by its own scale is inconclusive by default, and is named."""
    judgement = judge(beside_pixels(1), beside_pixels(change), precision)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "slice 4 of axis 1 and 1 more, small beside the other slices, is lost" in judgement.reason
    assert judge(beside_pixels(1), beside_pixels(1.003), precision).verdict is Verdict.PASSED


def test_a_small_component_of_a_regression_that_is_lost_does_not_pass() -> None:
    """One small component of 30 is less of the answers than the limit: where INT8 loses it, nothing is decided."""
    good = np.concatenate([RNG.normal(0, 300, (400, 29)), RNG.uniform(-1, 1, (400, 1))], axis=1).astype(np.float32)
    bad = good.copy()
    bad[:, 29] = 0
    for engine, spec, verdict in (
        (bad, None, Verdict.INCONCLUSIVE),
        (good, None, Verdict.PASSED),
        (bad, TolerancesSpec(slice_error=0.1), Verdict.PASSED),
    ):
        comparison = Comparison("int8", spec, answers=[Values("y", OutputSpec(kind="regression"))])
        judgement = comparison.consume([[("y", good)]], [[("y", engine)]]).judge()
        assert judgement.verdict is verdict, judgement.reason
        named = "slice 29 of axis 1, small beside the other slices, is lost" in judgement.reason
        assert named == (verdict is Verdict.INCONCLUSIVE)


def masked(values: np.ndarray, mask: float) -> np.ndarray:
    """Return ``values`` of which three in ten are ``mask``."""
    return np.where(np.random.default_rng(2).random(values.shape) < 0.3, mask, values).astype(np.float32)


@pytest.mark.parametrize("mask", [-1e9, -1e4, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_mask_is_not_the_scale_of_its_slice(mask: float, precision: Precision) -> None:
    """Scores beside equal masks are judged by their own scale: unrelated or constant ones fail."""
    good = RNG.normal(0, 3, (200, 6))
    expected = masked(good, mask)
    assert judge(expected, masked(good * (1 + 1e-4), mask), precision).verdict is Verdict.PASSED
    assert judge(expected, masked(np.roll(good, 1, axis=0), mask), precision).verdict is Verdict.FAILED
    assert "constant in the engine" in judge(expected, masked(good * 0 + 1, mask), precision).reason


def test_large_values_that_are_no_mask_still_count() -> None:
    """A slice of large values beside small ones fails if it is constant, or wrong by its own scale."""
    good = np.stack([RNG.normal(5e5, 300, 200), RNG.normal(0, 1, 200)], axis=1).astype(np.float32)
    for wrong in (np.full(200, 5e5, np.float32), np.roll(good[:, 0], 1)):
        bad = np.stack([wrong, good[:, 1]], axis=1)
        assert judge(good, good, "fp32").verdict is Verdict.PASSED
        assert judge(good, bad, "fp32").verdict is Verdict.FAILED


def test_between_the_thresholds_nothing_is_decided() -> None:
    """An error between the two default thresholds is inconclusive, and a written tolerance decides."""
    good = RNG.normal(0, 1, (64, 10)).astype(np.float32)
    off = (good + RNG.normal(0, 0.3, good.shape)).astype(np.float32)
    judgement = judge(good, off)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "slice_error" in judgement.reason
    assert judgement.limit is not None
    assert judgement.limit.fail_at == 0.75
    assert judge(good, off, "int8", TolerancesSpec(slice_error=0.5)).verdict is Verdict.PASSED
    assert judge(good, off, "int8", TolerancesSpec(slice_error=0.2)).verdict is Verdict.FAILED


@pytest.mark.parametrize(("dtype", "precision"), [("float16", "fp16"), ("bfloat16", "bf16")])
def test_a_coarse_output_is_judged_by_its_own_rounding(dtype: str, precision: Precision) -> None:
    """An FP16 or bfloat16 output of an FP32 engine has the default tolerance of its own type."""
    good = RNG.normal(0, 1, (64, 10)).astype(np.float32).astype(dtype)
    off = (good.astype(np.float32) * np.float32(1.01)).astype(dtype)
    assert judge(good, off, "fp32").verdict is judge(good, off, precision).verdict is Verdict.PASSED


def test_the_report_has_the_facts_of_the_slices() -> None:
    """The details name the axis, its worst slice and how many slices are live or dead."""
    bad = detections()
    bad[:, 6] = 0
    row = judge(detections(), bad).details["outputs"][0]
    assert {key: row["slices"][key] for key in ("axis", "count", "live", "worst", "dead")} == {
        "axis": 1,
        "count": 7,
        "live": 7,
        "worst": 6,
        "dead": 1,
    }
    assert row["slices"]["first_dead"][0]["index"] == 6


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.floats(-1e3, 1e3), st.integers(0, 2**32 - 1))
def test_streaming_is_the_same_as_two_passes(sizes: list[int], offset: float, seed: int) -> None:
    """Sums over any division into batches equal numpy's mean, deviation, error and extremes of the whole."""
    rng = np.random.default_rng(seed)
    x = rng.normal(offset, 1, (sum(sizes), 3, 4)) * rng.choice([1e-3, 1.0, 1e3], (1, 3, 1))
    y = x + rng.normal(0, 1e-2, x.shape)
    keep = rng.random(x.shape) < 0.9
    x, y = np.where(keep, x, 0), np.where(keep, y, 0)
    slices, start = Slices(), 0
    for size in sizes:
        rows = slice(start, start + size)
        slices.add(x[None, rows], y[None, rows], keep[None, rows], np.arange(start, start + size), batched=True)
        start += size
    one = slices.sums[1]
    assert one.shift is not None
    for index in range(3):
        ours, theirs, kept = x[:, index], y[:, index], keep[:, index]
        assert one.n[index] == kept.sum()
        if not kept.any():
            continue
        ours, theirs = ours[kept], theirs[kept]
        assert one.ee[index] == pytest.approx(((ours - theirs) ** 2).sum(), rel=1e-6)
        assert one.x[index] / one.n[index] + one.shift[index] == pytest.approx(ours.mean(), rel=1e-9, abs=1e-9)
        assert one.variance()[index] == pytest.approx(ours.var(), rel=1e-6, abs=1e-12)
        assert one.variance(engine=True)[index] == pytest.approx(theirs.var(), rel=1e-6, abs=1e-12)
        assert one.low[index] == pytest.approx(ours.min(), rel=1e-9)
        assert one.high[index] == pytest.approx(ours.max(), rel=1e-9)


def rounded(values: np.ndarray) -> np.ndarray:
    """Return ``values`` rounded in steps of INT8; the largest magnitude is 127 steps."""
    step = float(np.abs(values).max()) / 127
    return (np.round(values / step) * step).astype(np.float32)


def test_rounding_of_slices_that_are_alike_is_no_error() -> None:
    """Slices that hardly vary about their mean may have the rounding error of the whole output, not a larger one."""
    means = np.array([12, 3, -5, 0.5])
    good = (means + np.random.default_rng(5).normal(0, 0.15, (64, 4))).astype(np.float32)
    assert judge(good, rounded(good)).verdict is Verdict.PASSED
    assert judge(good, good + 3 * (rounded(good) - good)).verdict is Verdict.INCONCLUSIVE
    assert judge(good, rounded(good), "fp16").verdict is Verdict.FAILED


def test_rounding_in_steps_of_boxes_is_an_error_of_scores() -> None:
    """Scores that are rounded in the steps of boxes do not pass."""
    good = detections()
    assert judge(good, rounded(good)).verdict is Verdict.FAILED


def test_a_slice_with_a_large_mean_excuses_no_other_slice() -> None:
    """Beside a slice with a mean of a million, a wrong slice still fails."""
    good = np.random.default_rng(6).normal(0, 1, (64, 3)).astype(np.float32)
    good[:, 0] += 1e6
    for wrong in (np.roll(good[:, 1], 1), good[:, 1] / 2):
        bad = good.copy()
        bad[:, 1] = wrong
        assert judge(good, bad).verdict is not Verdict.PASSED
