"""What the audit adds to ``int8.cache``, ``int8.disjoint`` and ``int8.drop``."""

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
    ("change", "words"),
    [
        ({"scales": {"x": [0.0], "y": [0.2]}}, "scales of x are zero"),
        ({"scales": {"x": [1e-45], "y": [0.2]}}, "as good as zero"),
        ({"scales": {"x": [3e38], "y": [0.2]}}, "saturated"),
        ({"scales": {"x": [float("inf")], "y": [0.2]}}, "not finite and positive"),
        ({"scales": {"old/x": [0.1], "y": [0.2]}}, "old/x have ranges, and the model has no such tensors"),
        ({"flowing": ("a", "b", "x")}, "only 1 of 3 inputs of convolutions and matrix products have a range"),
        ({"flowing": ("a",)}, "renamed since"),
    ],
)
def test_scales_that_cannot_be_and_tensors_that_are_not_there_fail(change: dict[str, Any], words: str) -> None:
    """Zero, denormal, at the end of float32; of tensors with other names."""
    found = int8.cache(replace(SOUND, **change))
    assert found.verdict is Verdict.FAILED
    assert words in found.reason


def test_a_cache_of_this_model_passes() -> None:
    """Half of the names are enough of TensorRT, which renames some tensors."""
    assert int8.cache(SOUND).verdict is Verdict.PASSED
    assert int8.cache(replace(SOUND, flowing=("x", "elsewhere"))).verdict is Verdict.PASSED


def test_a_damaged_calibration_is_told() -> None:
    """It was made again and is sound; that something damages files is worth a warning."""
    found = int8.cache(replace(SOUND, damaged=True))
    assert found.verdict is Verdict.WARNED
    assert "damaged or incomplete" in found.reason


def test_a_picture_saved_again_is_the_same_picture() -> None:
    """Near copies fail as copies do; where closeness says nothing, digests alone decide."""
    assert int8.disjoint(APART, NearFacts((), 100, 0.1)).verdict is Verdict.PASSED
    assert int8.disjoint(APART, NearFacts((), 0, 0.1)).verdict is Verdict.PASSED
    found = int8.disjoint(APART, NearFacts(((7, 3, 0.04),), 100, 0.1))
    assert found.verdict is Verdict.FAILED
    assert "sample 7 is calibration sample 3 to within 4.0%" in found.reason


def test_the_loss_is_split_where_fp16_is_there() -> None:
    """What half precision loses is not INT8's doing; without fp16 the reason is told, and no verdict changes."""
    passed = judged(Verdict.PASSED, "1 % is at most 2 %")
    split = int8.split(passed, {"fp32": 0.95, "int8": 0.94}, 0.945)
    assert split.verdict is Verdict.PASSED
    assert split.details["split"]["fp32_to_fp16"] == pytest.approx(0.005)
    assert split.details["split"]["fp16_to_int8"] == pytest.approx(0.005)
    lone = int8.split(passed, {"fp32": 0.95, "int8": 0.94}, None, "no fp16 here")
    assert (lone.reason, lone.details["split"]["not_split"]) == (passed.reason, "no fp16 here")
    assert "not_split" in int8.split(passed, {"fp32": 0.95, "int8": 0.94}, float("nan")).details["split"]
