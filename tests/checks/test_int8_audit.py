"""The audit's additions to ``int8.cache``, ``int8.disjoint`` and ``int8.drop``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hil.checks import int8
from hil.checks.int8 import CacheFacts, NearFacts
from hil.checks.parity import Overlap
from hil.checks.verdicts import judged
from hil.results import Verdict

SOUND = CacheFacts({"model": "m"}, {"model": "m"}, {"x": [0.1], "y": [0.2]}, known={"x", "y", "z"})
APART = Overlap(0, (), 100, 50)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scales": {"x": [0.0], "y": [0.2]}}, "scales of x are zero"),
        ({"scales": {"x": [1e-45], "y": [0.2]}}, "practically zero"),
        ({"scales": {"x": [3e38], "y": [0.2]}}, "saturated"),
        ({"scales": {"x": [float("inf")], "y": [0.2]}}, "not finite and positive"),
        ({"scales": {"old/x": [0.1], "y": [0.2]}}, "old/x have ranges, but the model has no such tensors"),
        ({"flowing": ("a", "b", "x")}, "only 1 of 3 inputs of convolutions and matrix products have a range"),
        ({"flowing": ("a",)}, "renamed since"),
    ],
)
def test_impossible_scales_and_unknown_tensors_fail(change: dict[str, Any], reason: str) -> None:
    """Scales that are zero, denormal or saturated, and scales of tensors that the model does not have, fail."""
    judgement = int8.cache(replace(SOUND, **change))
    assert judgement.verdict is Verdict.FAILED
    assert reason in judgement.reason


def test_a_cache_of_this_model_passes() -> None:
    """A cache with scales of half of this model's tensors passes, since TensorRT renames some."""
    assert int8.cache(SOUND).verdict is Verdict.PASSED
    assert int8.cache(replace(SOUND, flowing=("x", "elsewhere"))).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [(1e-40, Verdict.PASSED), (0.0, Verdict.FAILED), (-1e-40, Verdict.FAILED), (float("nan"), Verdict.FAILED)],
)
def test_the_scale_of_a_bias_may_be_tiny(scale: float, verdict: Verdict) -> None:
    """The bias of a channel without weights has a tiny scale; a scale that is 0 or not a positive number fails."""
    facts = replace(SOUND, scales={"x": [0.1], "y": [0.2, scale]})
    assert int8.cache(replace(facts, biases={"y"})).verdict is verdict
    assert int8.cache(replace(facts, biases={"x"})).verdict is Verdict.FAILED


def test_a_damaged_calibration_is_a_warning() -> None:
    """A damaged calibration that was made again is a warning."""
    judgement = int8.cache(replace(SOUND, damaged=True))
    assert judgement.verdict is Verdict.WARNED
    assert "damaged or incomplete" in judgement.reason


def test_near_copies_are_not_disjoint() -> None:
    """Near copies fail as copies do; without a usable distance only digests count."""
    assert int8.disjoint(APART, NearFacts((), 100, 0.1)).verdict is Verdict.PASSED
    assert int8.disjoint(APART, NearFacts((), 0, 0.1)).verdict is Verdict.PASSED
    judgement = int8.disjoint(APART, NearFacts(((7, 3, 0.04),), 100, 0.1))
    assert judgement.verdict is Verdict.FAILED
    assert "sample 7 is calibration sample 3 to within 4.0%" in judgement.reason


def test_the_loss_is_split_by_fp16() -> None:
    """The details divide the loss into FP16's and INT8's; without FP16 they have the reason."""
    passed = judged(Verdict.PASSED, "1 % is at most 2 %")
    split = int8.split(passed, {"fp32": 0.95, "int8": 0.94}, 0.945)
    assert split.verdict is Verdict.PASSED
    assert split.details["split"]["fp32_to_fp16"] == pytest.approx(0.005)
    assert split.details["split"]["fp16_to_int8"] == pytest.approx(0.005)
    without_fp16 = int8.split(passed, {"fp32": 0.95, "int8": 0.94}, None, "no fp16 here")
    assert (without_fp16.reason, without_fp16.details["split"]["not_split"]) == (passed.reason, "no fp16 here")
    assert "not_split" in int8.split(passed, {"fp32": 0.95, "int8": 0.94}, float("nan")).details["split"]
