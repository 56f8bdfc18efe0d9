"""Properties that hold for any valid input, not only for the validation data.

Functions that return text return an error message, or an empty string.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.checks.tolerances import DRAWN, Tolerance, Where, merge, somewhere
from hil.checks.verdicts import failed, inconclusive, judged
from hil.dtypes import differences, is_finite, is_float
from hil.results import Judgement, Measurement, Verdict
from hil.stats.masks_and_scores import largest_unmasked, same_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.checks.blocks import Outputs
    from hil.config.spec import Precision, TolerancesSpec
    from hil.onnx_files.signature import Signature

Array = npt.NDArray[Any]

ROUNDING: Mapping[Precision, float] = {
    "fp32": 1e-5,
    "tf32": 2e-3,
    "fp16": 2e-3,
    "bf16": 2e-2,
    "int8": 2e-2,
    "fp8": 2e-2,
    "fp4": 2e-2,
    "int4": 2e-2,
}
"""The share of an output's scale by which a sample may depend on the rest of its batch.

This is about 80 units in the last place of fp32, 2 to 3 of tf32, fp16 and bf16, or 2 to 3 steps of 8-bit integers."""

ROUNDED = 6.0
"""An engine may differ from the reference by this many times the root mean square error that rounding causes.

Student's t with eight degrees of freedom is beyond 6 once in 3,000 draws.
"""

FEW = 9
"""The verdict is warned if the reference refuses more than this many batches for each batch that it accepts."""
SIZES = "declare the sizes that the network takes, by shape and multiple_of under [models.NAME.inputs.INPUT]"


@dataclass(frozen=True)
class SearchResult:
    """The result of a search for a counterexample.

    Attributes:
        examples: how many batches had no problem.
        samples: the number of samples in these batches.
        wrong: the error message of the smallest counterexample, empty without one.
        example: how to draw that batch again; ``None`` without a counterexample.
        saved: the file of the report that holds the inputs of the counterexample, empty without one.
        refused: how many more batches could not be judged, because the reference refuses them.
    """

    examples: int
    samples: int
    wrong: str = ""
    example: Mapping[str, Any] | None = None
    saved: str = ""
    refused: int = 0


def judge(searched: SearchResult, what: str) -> Judgement:
    """Judge the result of a search; ``what`` states the property that held. Failed if there is a counterexample.

    Otherwise passed if the reference accepted a tenth or more of the drawn batches, warned if it accepted fewer, and
    inconclusive if it accepted none.
    """
    details: dict[str, Any] = {"examples": searched.examples, "samples": searched.samples, "refused": searched.refused}
    if searched.wrong:
        replay = f"; its inputs are in {searched.saved}" if searched.saved else ""
        more = {"example": dict(searched.example or {}), "inputs": searched.saved}
        return failed(f"{searched.wrong}, for a batch of {_summary(searched.example)}{replay}", {**details, **more})
    if searched.examples < 1:
        refused = f"the reference refuses all {searched.refused} drawn batches: {SIZES}"
        return inconclusive(refused if searched.refused else "no batch was drawn", details=details)
    reason = f"{searched.examples} drawn batches, {searched.samples} samples: {what}"
    measurement = Measurement(value=searched.examples, unit="batches", n=searched.examples)
    verdict = Verdict.PASSED
    if searched.refused > searched.examples:
        verdict = Verdict.WARNED if searched.refused > FEW * searched.examples else verdict
        reason += f"; {searched.refused} more batches were not judged, since the reference refuses them: {SIZES}"
    return judged(verdict, reason, measurement, details=details)


def _summary(example: Mapping[str, Any] | None) -> str:
    samples = (example or {}).get("samples", [])
    kinds = ", ".join(str(one.get("kind")) for one in samples[:3])
    return f"{len(samples)} ({kinds}{', …' if len(samples) > 3 else ''})"


def difference(  # noqa: PLR0913 - both sides and the parts of their tolerance
    reference: Outputs,
    engine: Outputs,
    scales: Mapping[str, float],
    precision: Precision,
    spec: TolerancesSpec | None = None,
    *,
    where: Where = somewhere,
    rounding: Callable[[], Mapping[str, float]] = dict,
) -> str:
    """Return, as text, the first difference between engine and reference that is not allowed; empty without one.

    Names, dtypes, shapes and the places of NaN and infinity must be equal, and values within ``max_rel`` and
    ``max_abs``; without ``max_abs``, equal masks count as equal. ``max_rel`` is relative to the output's largest
    magnitude without masks, in the batch or in ``scales``, whichever is larger. ``rounding`` returns, by output, the
    error that rounding to ``precision`` causes in the reference itself; a default ``max_rel`` below ``ROUNDED`` times
    this error is raised to it.
    """
    if wrong := _other_names(engine, [name for name, _ in reference]):
        return wrong
    theirs = dict(engine)
    for name, ours in reference:
        wrong = _difference(name, ours, theirs[name], scales, precision, spec, where, rounding)
        if wrong:
            return wrong
    return ""


def _other_names(outputs: Outputs, expected: list[str]) -> str:
    """Return, as text, how the names of ``outputs`` differ from ``expected``; empty if only their order differs."""
    names = [name for name, _ in outputs]
    return "" if sorted(names) == sorted(expected) else f"outputs {names} instead of {expected}"


def _difference(  # noqa: PLR0913, PLR0917 - as ``difference``
    name: str,
    ours: Array,
    theirs: Array,
    scales: Mapping[str, float],
    precision: Precision,
    spec: TolerancesSpec | None,
    where: Where,
    rounding: Callable[[], Mapping[str, float]],
) -> str:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"output {name!r} is {theirs.dtype}{list(theirs.shape)} instead of {ours.dtype}{list(ours.shape)}"
    bounds = merge(precision, spec, name, dtype=ours.dtype.name, where=where)
    if is_float(ours.dtype):
        bounds = {"max_rel": Tolerance("max_rel", DRAWN[precision], "default")} | bounds
    left, right = ours.astype(np.float64), theirs.astype(np.float64)
    both = np.isfinite(left) & np.isfinite(right)
    known = scales.get(name, 0.0)
    if not (both | (np.isnan(left) & np.isnan(right)) | (left == right)).all():
        return f"output {name!r} is not finite where the reference is, or the other way round"
    apart, scale = _apart(ours[both], theirs[both], known), largest_unmasked(left[both], known)
    relative = {"max_rel": scale, "max_abs": 1.0}
    allowed = {key: bounds[key].value * unit for key, unit in relative.items() if key in bounds}
    if "max_abs" in allowed:  # which the config states: also of masks
        apart = float(differences(ours, theirs)[both].max(initial=0.0))
    if "max_rel" in bounds and bounds["max_rel"].key is None and apart > allowed["max_rel"]:
        allowed["max_rel"] = max(allowed["max_rel"], ROUNDED * rounding().get(name, 0.0))
    if allowed and apart > (most := min(allowed.values())):
        return f"output {name!r} differs by {apart:.3g} at a scale of {scale:.3g}; {most:.3g} is allowed"
    return ""


def _apart(one: Array, other: Array, scale: float) -> float:
    """Return the largest difference; for floats without equal masks."""
    masked = None
    if is_float(one.dtype) and is_finite(one).all() and is_finite(other).all():
        masked = same_masks(one.astype(np.float64), other.astype(np.float64), scale)
    return float(differences(one, other).max(initial=0.0, where=True if masked is None else ~masked))


def malformed(outputs: Outputs, signature: Signature, sizes: Mapping[str, int]) -> str:
    """Return, as text, the first output that is not finite or differs from the signature; empty without such an output.

    Names, dtypes and shapes are compared. ``sizes`` are the sizes of the inputs' named dimensions. An output dimension
    with any other name may have any size.
    """
    if wrong := _other_names(outputs, [spec.name for spec in signature.outputs]):
        return wrong
    arrays = dict(outputs)
    for spec in signature.outputs:
        name, array = spec.name, arrays[spec.name]
        shape = [sizes.get(size) if isinstance(size, str) else size for size in spec.shape]
        fits = not spec.ranked or (
            len(shape) == array.ndim
            and all(size in {None, have} for size, have in zip(shape, array.shape, strict=True))
        )
        if not fits or array.dtype.name != spec.dtype:
            return f"output {name!r} is {array.dtype}{list(array.shape)} instead of {spec}"
        if not is_finite(array).all():
            return f"output {name!r} has {int((~is_finite(array)).sum())} of {array.size} elements not finite"
    return ""


def not_repeatable(first: Outputs, again: Outputs) -> str:
    """Return, as text, which output of the same batch differs in any bit between two runs; empty if none does."""
    for (name, ours), (_, theirs) in zip(first, again, strict=True):
        if ours.tobytes() != theirs.tobytes():
            return f"output {name!r} of the same batch differs between two runs"
    return ""


def batch_dependence(  # noqa: PLR0913, PLR0917 - two runs, and what their outputs mean
    first: Outputs,
    others: Outputs,
    batch: int,
    scales: Mapping[str, float],
    precision: Precision,
    signature: Signature,
    same: Sequence[int] = (0,),
) -> str:
    """Return, as text, which output of one sample changes with the other samples of its batch; empty if none.

    ``first`` and ``others`` are the outputs of two batches that have only the samples with the numbers ``same`` in
    common. Changes within rounding are allowed. Outputs without a batch axis are ignored.
    """
    sizes = {size for spec in signature.inputs for size in spec.shape if isinstance(size, str)}
    for (name, ours), (_, theirs) in zip(first, others, strict=True):
        axis = signature.output_axis(name)
        if axis is None or ours.ndim <= axis or ours.shape[axis] != batch or not ours.size:
            continue
        if ours.shape != theirs.shape:
            declared = next(spec for spec in signature.outputs if spec.name == name)
            free = [size for place, size in enumerate(declared.shape) if place != axis and size not in sizes]
            if not declared.ranked or any(not isinstance(size, int) for size in free):
                continue
            return f"output {name!r} of one sample changes its shape with the other samples of its batch"
        one, other = (np.take(array, same, axis) for array in (ours, theirs))
        apart = _apart(one, other, scales.get(name, 0.0))
        scale = largest_unmasked(one.astype(np.float64), scales.get(name, 0.0))
        allowed = ROUNDING[precision] * scale if is_float(ours.dtype) else 0.0
        if not apart <= allowed:
            changes = f"output {name!r} of one sample changes by {apart:.3g} with the other samples of its batch"
            return f"{changes} ({allowed:.3g} is rounding)"
    return ""
