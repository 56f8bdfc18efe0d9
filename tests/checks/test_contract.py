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
    """Ports may be in any order, and dynamic sizes may have other names or none."""
    engine = Signature((SCALE, replace(IMAGE, shape=(None, 1, 8, 8))), (replace(LOGITS, shape=(-1, 10)),))
    assert contract.signature(MODEL, engine).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("engine", "named"),
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
def test_any_difference_fails_and_is_named(engine: Signature, named: str) -> None:
    """A missing, extra or renamed port fails, and so does another dtype, rank or size."""
    judgement = contract.signature(MODEL, engine)
    assert judgement.verdict is Verdict.FAILED
    assert any(named in difference for difference in judgement.details["differences"])


@pytest.mark.parametrize(
    ("shapes", "verdict"),
    [
        ([[2, 1, 8, 8]] * 3, Verdict.PASSED),
        ([[2, 1, 8, 8], [2, 1, 8, 8], [4, 1, 8, 8]], Verdict.FAILED),
        ([[1, 1, 8, 8]] * 3, Verdict.FAILED),
    ],
)
def test_an_engine_may_fix_the_only_size_that_it_was_built_for(shapes: list[list[int]], verdict: Verdict) -> None:
    """The engine may fix a dynamic size of an input only if min, opt and max of the profile are that size."""
    engine = Signature((replace(IMAGE, shape=(2, 1, 8, 8)), SCALE), (LOGITS,))
    assert contract.signature(MODEL, engine, built_for={"image": shapes}).verdict is verdict
    assert contract.signature(MODEL, MODEL, built_for={"image": shapes}).verdict is Verdict.PASSED


TOKENS = Signature((TensorSpec("ids", "int64", ("batch", 8)),), (TensorSpec("top", "int64", ("batch",)),))


def as_dtype(model: Signature, ids: str, top: str) -> Signature:
    """Return the signature of an engine of ``model`` with these dtypes."""
    return Signature((replace(model.inputs[0], dtype=ids),), (replace(model.outputs[0], dtype=top),))


def test_a_runtime_without_int64_may_narrow_and_reports_it() -> None:
    """On a runtime without int64, int32 for int64 passes, and the reason names the tensors."""
    judgement = contract.signature(TOKENS, as_dtype(TOKENS, "int32", "int32"), narrows=True)
    assert (judgement.verdict, judgement.details["narrowed"]) == (Verdict.PASSED, ["ids", "top"])
    assert "int32 is accepted for ids, top" in judgement.reason
    assert contract.signature(TOKENS, TOKENS, narrows=True).details["narrowed"] == []


@pytest.mark.parametrize(
    ("ids", "top", "narrows"),
    [("int32", "int64", False), ("int64", "int32", False), ("int16", "int64", True), ("int32", "float32", True)],
)
def test_no_other_dtype_may_differ(ids: str, top: str, *, narrows: bool) -> None:
    """A runtime with int64 must use it, and no other pair of dtypes passes on any runtime."""
    assert contract.signature(TOKENS, as_dtype(TOKENS, ids, top), narrows=narrows).verdict is Verdict.FAILED


def test_a_narrowed_input_does_not_excuse_an_output() -> None:
    """Inputs and outputs of the same name are compared separately."""
    x, y = TensorSpec("x", "int64", (1,)), TensorSpec("x", "float32", (1,))
    engine = Signature((replace(x, dtype="int32"),), (replace(y, dtype="float16"),))
    assert contract.signature(Signature((x,), (y,)), engine, narrows=True).verdict is Verdict.FAILED


def test_a_model_without_ports_fails() -> None:
    """Two empty signatures are equal but prove nothing."""
    assert contract.signature(Signature((), ()), Signature((), ())).verdict is Verdict.FAILED


RAN = ShapeTrial(
    inputs={"image": (2, 1, 8, 8)},
    ok=True,
    expected={"logits": (2, 10)},
    outputs={"logits": (2, 10)},
    finite=True,
)
REFUSED = ShapeTrial(inputs={"image": (2, 3, 8, 8)}, ok=False, allowed=False, error="wrong shape")


def test_shapes_of_the_contract_pass() -> None:
    """Allowed shapes run and others are refused; an output size that the model leaves open may be any."""
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
    """A refusal of an allowed shape, wrong or non-finite outputs, or a forbidden shape that ran fails the check."""
    assert contract.shapes([RAN, trial, REFUSED]).verdict is Verdict.FAILED


@pytest.mark.parametrize("trials", [[], [REFUSED]])
def test_refusals_alone_do_not_pass(trials: list[ShapeTrial]) -> None:
    """Without an allowed shape that ran the check is inconclusive."""
    assert contract.shapes(trials).verdict is Verdict.INCONCLUSIVE


ALL = [RefusalTrial(kind, refused=True, message="no") for kind in KINDS]


def test_all_kinds_refused_pass() -> None:
    """The check passes if every kind of bad input was refused, or is excused because the model cannot have it."""
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
    """A kind of bad input that was not tried is inconclusive; a kind that ran, or ended the worker, fails."""
    assert contract.bad_input(trials).verdict is verdict


def test_what_failed_after_a_refusal_is_named() -> None:
    """If a valid input no longer runs after a refused one, the reason has the error of the valid input."""
    dead = RefusalTrial("missing", refused=True, alive=False, message="x is missing", after="the stream is broken")
    reason = contract.bad_input([dead, *ALL[1:]]).reason
    assert reason == (
        "bad input (missing) was refused, but a valid input no longer runs afterwards: the stream is broken"
    )


def test_excusing_every_kind_is_inconclusive() -> None:
    """Without any trial the check is inconclusive, even if every kind is excused."""
    assert contract.bad_input([], dict.fromkeys(KINDS, "why")).verdict is Verdict.INCONCLUSIVE


def test_a_bounded_engine_without_a_refusal_is_a_warning() -> None:
    """An engine with size limits that refused no shape is a warning."""
    assert contract.shapes([RAN], bounded=True).verdict is Verdict.WARNED
    assert contract.shapes([RAN, REFUSED], bounded=True).verdict is Verdict.PASSED
    assert contract.shapes([RAN, replace(REFUSED, ok=True)], bounded=True).verdict is Verdict.FAILED
