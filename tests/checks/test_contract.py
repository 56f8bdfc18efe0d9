from __future__ import annotations

from dataclasses import replace

import pytest

from hil.checks import contract
from hil.checks.contract import KINDS, RefusalTrial, ShapeTrial
from hil.onnx_files.signature import Signature, TensorSpec
from hil.results import Verdict

IMAGE = TensorSpec("image", "float32", ("batch", 1, 8, 8))
SCALE = TensorSpec("scale", "float32", (1,))
LOGITS = TensorSpec("logits", "float32", ("batch", 10))
MODEL = Signature((IMAGE, SCALE), (LOGITS,))


def test_the_models_own_signature_passes() -> None:
    """In any order, and with dynamic sizes under other names or none."""
    engine = Signature((SCALE, replace(IMAGE, shape=(None, 1, 8, 8))), (replace(LOGITS, shape=(-1, 10)),))
    assert contract.signature(MODEL, engine).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("engine", "word"),
    [
        (Signature((IMAGE,), (LOGITS,)), "scale"),
        (Signature((IMAGE, SCALE, replace(SCALE, name="more")), (LOGITS,)), "more"),
        (Signature((replace(IMAGE, name="Image"), SCALE), (LOGITS,)), "Image"),
        (Signature((replace(IMAGE, dtype="float16"), SCALE), (LOGITS,)), "float16"),
        (Signature((replace(IMAGE, shape=("batch", 1, 8)), SCALE), (LOGITS,)), "batch, 1, 8]"),
        (Signature((replace(IMAGE, shape=("batch", 3, 8, 8)), SCALE), (LOGITS,)), "3, 8, 8"),
        (Signature((replace(IMAGE, shape=(1, 1, 8, 8)), SCALE), (LOGITS,)), "1, 1, 8, 8"),
        (Signature((IMAGE, replace(SCALE, shape=(None,))), (LOGITS,)), "?"),
        (Signature((IMAGE, SCALE), ()), "logits"),
        (Signature((IMAGE, SCALE, SCALE), (LOGITS,)), "twice"),
        (Signature((), ()), "image"),
    ],
)
def test_any_difference_fails_and_is_named(engine: Signature, word: str) -> None:
    """Missing, extra, renamed, another dtype, rank or size, fixed where it is free or free where it is fixed."""
    judgement = contract.signature(MODEL, engine)
    assert judgement.verdict is Verdict.FAILED
    assert any(word in difference for difference in judgement.details["differences"])


TOKENS = Signature((TensorSpec("ids", "int64", ("batch", 8)),), (TensorSpec("top", "int64", ("batch",)),))


def as_dtype(model: Signature, ids: str, top: str) -> Signature:
    """``model`` as an engine with these dtypes."""
    return Signature((replace(model.inputs[0], dtype=ids),), (replace(model.outputs[0], dtype=top),))


def test_a_runtime_without_int64_is_excused_and_told() -> None:
    """int32 in the place of int64 is no difference there, and the reason says which tensors it was."""
    judgement = contract.signature(TOKENS, as_dtype(TOKENS, "int32", "int32"), narrows=True)
    assert (judgement.verdict, judgement.details["narrowed"]) == (Verdict.PASSED, ["ids", "top"])
    assert "ids, top int32 instead of int64" in judgement.reason
    assert contract.signature(TOKENS, TOKENS, narrows=True).details["narrowed"] == []


@pytest.mark.parametrize(
    ("ids", "top", "narrows"),
    [("int32", "int64", False), ("int64", "int32", False), ("int16", "int64", True), ("int32", "float32", True)],
)
def test_no_other_dtype_is_excused(ids: str, top: str, *, narrows: bool) -> None:
    """A runtime that has int64 has no excuse, and no runtime has one for any other pair."""
    assert contract.signature(TOKENS, as_dtype(TOKENS, ids, top), narrows=narrows).verdict is Verdict.FAILED


def test_an_excused_input_excuses_no_output_of_the_same_name() -> None:
    """Each side is held by itself."""
    x, y = TensorSpec("x", "int64", (1,)), TensorSpec("x", "float32", (1,))
    engine = Signature((replace(x, dtype="int32"),), (replace(y, dtype="float16"),))
    assert contract.signature(Signature((x,), (y,)), engine, narrows=True).verdict is Verdict.FAILED


def test_a_model_of_nothing_fails() -> None:
    """Two empty signatures are equal and say nothing."""
    assert contract.signature(Signature((), ()), Signature((), ())).verdict is Verdict.FAILED


RAN = ShapeTrial(
    inputs={"image": (2, 1, 8, 8)},
    ok=True,
    expected={"logits": (2, 10)},
    outputs={"logits": (2, 10)},
    finite=True,
)
REFUSED = ShapeTrial(inputs={"image": (2, 3, 8, 8)}, ok=False, allowed=False, error="wrong shape")


def test_shapes_as_promised_pass() -> None:
    """What is allowed runs, what is not is refused; a size the model leaves open may be any."""
    assert contract.shapes([RAN, REFUSED]).verdict is Verdict.PASSED
    assert contract.shapes([replace(RAN, expected={"logits": (None, 10)})]).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    "trial",
    [
        replace(RAN, ok=False, error="no"),
        replace(RAN, finite=False),
        replace(RAN, outputs={"logits": (1, 10)}),
        replace(RAN, outputs={"logits": (20,)}),
        replace(RAN, outputs={}),
        replace(RAN, outputs={}, expected={}),
        replace(RAN, outputs={"other": (2, 10)}),
        replace(REFUSED, ok=True),
    ],
)
def test_one_wrong_trial_fails(trial: ShapeTrial) -> None:
    """Refused, not finite, another shape or output, or a forbidden shape that ran."""
    assert contract.shapes([RAN, trial, REFUSED]).verdict is Verdict.FAILED


@pytest.mark.parametrize("trials", [[], [REFUSED]])
def test_no_allowed_shape_tried_is_not_passed(trials: list[ShapeTrial]) -> None:
    """Refusing everything is no contract kept."""
    assert contract.shapes(trials).verdict is Verdict.INCONCLUSIVE


ALL = [RefusalTrial(kind, refused=True, message="no") for kind in KINDS]


def test_all_kinds_refused_pass() -> None:
    """Every kind of bad input, each refused; one that the model cannot have is excused by name."""
    assert contract.bad_input(ALL).verdict is Verdict.PASSED
    assert contract.bad_input(ALL[:-1], {"shape": "all sizes are dynamic"}).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("trials", "verdict"),
    [
        ([], Verdict.INCONCLUSIVE),
        (ALL[:-1], Verdict.INCONCLUSIVE),
        ([*ALL, RefusalTrial("dtype", refused=False)], Verdict.FAILED),
        ([*ALL[1:], RefusalTrial("missing", refused=True, alive=False, message="died")], Verdict.FAILED),
    ],
)
def test_bad_input_not_refused_never_passes(trials: list[RefusalTrial], verdict: Verdict) -> None:
    """Not tried, computed, or refused by dying."""
    assert contract.bad_input(trials).verdict is verdict


def test_no_trial_at_all_is_not_excused() -> None:
    """Excusing every kind leaves nothing that was seen."""
    assert contract.bad_input([], dict.fromkeys(KINDS, "why")).verdict is Verdict.INCONCLUSIVE


def test_an_engine_of_unknown_sizes_that_refused_none_is_warned_of() -> None:
    """It takes some sizes alone; as long as nothing beyond them was tried, nobody knows that it refuses them."""
    assert contract.shapes([RAN], bounded=True).verdict is Verdict.WARNED
    assert contract.shapes([RAN, REFUSED], bounded=True).verdict is Verdict.PASSED
    assert contract.shapes([RAN, replace(REFUSED, ok=True)], bounded=True).verdict is Verdict.FAILED
