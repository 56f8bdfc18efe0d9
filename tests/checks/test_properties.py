from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.checks import properties
from hil.checks.properties import SearchResult, batch_dependence, difference, malformed, not_repeatable
from hil.config.spec import ToleranceSpec, TolerancesSpec
from hil.onnx_files.signature import Signature, TensorSpec
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

HALF = np.full((2, 3), 0.5, np.float32)
SIGNATURE = Signature(inputs=(TensorSpec("x", "float32", ("n", 3)),), outputs=(TensorSpec("y", "float32", ("n", 3)),))


def _y(array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [("y", array)]


def test_without_batches_the_search_is_inconclusive() -> None:
    """A search without batches is inconclusive, and one batch without a failure passes."""
    assert properties.judge(SearchResult(0, 0), "all is well").verdict is Verdict.INCONCLUSIVE
    assert properties.judge(SearchResult(1, 3), "all is well").verdict is Verdict.PASSED


def test_a_failure_names_the_batch_and_its_file() -> None:
    """If a batch violates a property, the reason has the fault, the batch and the file with its inputs."""
    example = {"samples": [{"kind": "spike", "level": 3, "seed": 0}], "sizes": {}}
    judgement = properties.judge(SearchResult(7, 20, "output 'y' is off", example, "repro/x.npz"), "")
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason == "output 'y' is off, for a batch of 1 (spike); its inputs are in repro/x.npz"
    assert judgement.details["example"] == example


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        (_y(HALF * np.float32(1.001)), "differs by 0.0005"),
        (_y(HALF[:, :2]), "instead of"),
        (_y(HALF.astype(np.float64)), "float64"),
        ([("z", HALF)], "outputs"),
        ([], "outputs"),
        (_y(HALF * np.nan), "finite"),
        (_y(np.where(HALF > 0, np.inf, 0).astype(np.float32)), "finite"),
    ],
)
def test_any_difference_is_reported(engine: list[tuple[str, np.ndarray]], named: str) -> None:
    """A difference in value, shape, dtype, name or number of outputs, and a non-finite value, is reported."""
    assert named in difference(_y(HALF), engine, {}, "fp32")


def test_a_mask_is_not_the_scale_of_an_output() -> None:
    """Beside masks of -1e9, scores are compared by their own scale, and masks of rounding size differ by nothing."""
    ours = np.array([[0.5, -1e9, 0.25]], np.float32)
    assert not difference(_y(ours), _y(ours * np.float32(1 + 1e-6)), {}, "fp32")
    for theirs in ([[0.5, -1e9, 0.2]], [[0.5, 0.1, 0.25]], [[-1e9, -1e9, 0.25]]):
        assert "differs by" in difference(_y(ours), _y(np.array(theirs, np.float32)), {"y": 1.0}, "fp32")
    strict = TolerancesSpec(max_abs=1.0)
    assert "differs by" in difference(_y(ours), _y(ours * np.float32(1 + 1e-6)), {}, "fp32", strict)


def test_the_order_of_the_outputs_does_not_matter() -> None:
    """A runtime may list the outputs in an order unlike the file's; they are compared by name."""
    both = [("y", HALF), ("z", HALF * 2)]
    signature = replace(SIGNATURE, outputs=(*SIGNATURE.outputs, replace(SIGNATURE.outputs[0], name="z")))
    assert not difference(both, both[::-1], {}, "fp32")
    assert not malformed(both[::-1], signature, {"n": 2})
    assert "differs" in difference(both, [("z", HALF), ("y", HALF * 2)], {}, "fp32")
    assert "instead of" in malformed([("z", HALF), ("y", HALF[:, :2])], signature, {"n": 2})


def test_rounding_counts_only_beyond_a_default() -> None:
    """Beyond a default tolerance, a difference that rounding explains is allowed; beyond a written one it is not."""
    engine, large = _y(HALF * np.float32(1.001)), {"y": 1e-4}
    assert not difference(_y(HALF), engine, {}, "fp32", rounding=lambda: large)
    assert "differs" in difference(_y(HALF), engine, {}, "fp32", rounding=lambda: {"y": 5e-5})
    assert "differs" in difference(_y(HALF), engine, {}, "fp32", rounding=lambda: {"other": 1.0})
    for spec in (TolerancesSpec(max_rel=1e-4), TolerancesSpec(max_abs=1e-5)):
        assert "differs" in difference(_y(HALF), engine, {}, "fp32", spec, rounding=lambda: large)
    assert not difference(_y(HALF), _y(HALF), {}, "fp32", rounding=lambda: pytest.fail("asked"))


def test_outputs_within_the_tolerance_have_no_difference() -> None:
    """Outputs within the tolerance, or with equal non-finite values, have no difference."""
    assert not difference(_y(HALF), _y(HALF * np.float32(1.00005)), {}, "fp32")
    odd = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert not difference(_y(odd), _y(odd), {}, "fp32")
    assert "finite" in difference(_y(odd), _y(-odd), {}, "fp32")


def test_the_scale_is_that_of_the_validation_data() -> None:
    """A batch of tiny values is compared on the scale of the validation data, not on its own."""
    small, off = np.full((1, 1), 1e-6, np.float32), np.full((1, 1), 2e-6, np.float32)
    assert difference(_y(small), _y(off), {}, "fp32")
    assert not difference(_y(small), _y(off), {"y": 1.0}, "fp32")


@pytest.mark.parametrize("spec", [{"max_abs": 0.001}, {"outputs": {"y": ToleranceSpec(max_abs=0.001, max_rel=0.9)}}])
def test_the_tighter_of_both_bounds_counts(spec: Mapping[str, object]) -> None:
    """Of an absolute and a relative bound in the config, the tighter one is used."""
    tolerances = TolerancesSpec.model_validate(spec)
    assert difference(_y(HALF), _y(HALF + np.float32(0.002)), {}, "fp16", tolerances)
    assert not difference(_y(HALF), _y(HALF + np.float32(0.0005)), {}, "fp16", tolerances)


def test_integers_may_not_differ() -> None:
    """An integer output that differs by one is a difference, also where float64 cannot show it."""
    for number in (3, 2**60):
        ours, theirs = np.array([number, 0]), np.array([number + 1, 0])
        assert difference(_y(ours), _y(theirs), {"y": 100.0}, "fp16")
        assert batch_dependence(_y(ours), _y(theirs), 2, {}, "fp16", SIGNATURE)
    large, near = np.array([2, 5 * 10**6]), np.array([2, 5 * 10**6 + 1])  # no mask: integers have none
    assert batch_dependence(_y(large), _y(near), 2, {"y": 2.0}, "fp16", SIGNATURE, same=(1,))


@pytest.mark.parametrize(
    ("outputs", "named"),
    [
        (_y(HALF[:, :2]), "float32[2, 2]"),
        (_y(HALF[:1]), "float32[1, 3]"),
        (_y(HALF.astype(np.float16)), "float16"),
        ([("z", HALF)], "instead of"),
        (_y(np.where(np.arange(3) > 1, np.nan, HALF).astype(np.float32)), "2 of 6"),
    ],
)
def test_outputs_must_match_the_signature(outputs: list[tuple[str, np.ndarray]], named: str) -> None:
    """Outputs with another shape, dtype or name than the signature, or non-finite values, are malformed."""
    assert named in malformed(outputs, SIGNATURE, {"n": 2})


def test_sound_outputs_have_no_fault() -> None:
    """Outputs of the declared shape that are repeatable and independent of the batch have no fault."""
    assert not malformed(_y(HALF), SIGNATURE, {"n": 2})
    assert not not_repeatable(_y(HALF), _y(HALF.copy()))
    assert not batch_dependence(_y(HALF), _y(np.concatenate([HALF[:1], HALF[1:] * 7])), 2, {}, "fp32", SIGNATURE)


def test_one_bit_is_not_repeatable() -> None:
    """Repetitions are compared bit for bit."""
    again = HALF.copy()
    again[1, 2] = np.nextafter(again[1, 2], np.float32(1))
    assert "two runs" in not_repeatable(_y(HALF), _y(again))


@pytest.mark.parametrize("first", [0.51, np.nan])
def test_a_sample_that_depends_on_its_batch_is_reported(first: float) -> None:
    """A sample that differs by more than rounding, or becomes non-finite, in another batch is reported."""
    others = HALF.copy()
    others[0, 0] = first
    assert "other samples of its batch" in batch_dependence(_y(HALF), _y(others), 2, {}, "fp16", SIGNATURE)
    assert not batch_dependence(
        _y(HALF), _y(others), 3, {}, "fp16", SIGNATURE
    )  # the first axis is not the batch: no row is a sample


@pytest.mark.parametrize(
    ("examples", "refused", "verdict"),
    [(40, 10, Verdict.PASSED), (10, 40, Verdict.PASSED), (4, 46, Verdict.WARNED), (0, 50, Verdict.INCONCLUSIVE)],
)
def test_batches_that_the_reference_refuses_prove_nothing(examples: int, refused: int, verdict: Verdict) -> None:
    """Refused batches are counted, and named in the reason if they are more than the accepted ones."""
    judgement = properties.judge(SearchResult(examples, examples, refused=refused), "all hold")
    assert judgement.verdict is verdict
    assert ("the reference refuses" in judgement.reason) is (refused > examples)
    assert judgement.details["refused"] == refused
