"""What must hold for any valid input, not only for the validation data: data in, one sentence about what is wrong out.

Parity of numbers is asked where a tolerance of rounding makes sense (fp32 to fp16); of
every precision that outputs have the declared shapes and dtypes and are finite, that the same batch gives the same
outputs twice, and that a sample's result does not depend on its batch mates beyond rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.checks.tolerances import Where, merge, somewhere
from hil.checks.verdicts import failed, inconclusive, judged
from hil.results import Judgement, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.checks.comparison import Outputs
    from hil.config.spec import Precision, TolerancesSpec
    from hil.onnx_files.signature import Signature

Array = npt.NDArray[Any]

ROUNDING: Mapping[Precision, float] = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 2e-2, "int8": 2e-2}
"""By how much of an output's scale a sample may change with its batch mates: some units in the last place of the
precision's significand (24, 11, 11 and 8 bits), or a step or two of 8 bits."""


@dataclass(frozen=True)
class Searched:
    """How a search ended: ``examples`` batches, ``samples`` in all, were tried; ``wrong`` is what the smallest shows.

    ``example`` tells how to draw that batch again, ``saved`` the file in the report that holds its inputs.
    """

    examples: int
    samples: int
    wrong: str = ""
    example: Mapping[str, Any] | None = None
    saved: str = ""


def judge(searched: Searched, what: str) -> Judgement:
    """Passed where nothing was found in at least one batch, failed with the smallest batch that shows it."""
    details = {"examples": searched.examples, "samples": searched.samples}
    if searched.wrong:
        replay = f"; its inputs are in {searched.saved}" if searched.saved else ""
        more = {"example": dict(searched.example or {}), "inputs": searched.saved}
        return failed(f"{searched.wrong}, for a batch of {_told(searched.example)}{replay}", {**details, **more})
    if searched.examples < 1:
        return inconclusive("no batch was drawn", details=details)
    reason = f"{searched.examples} drawn batches, {searched.samples} samples: {what}"
    measurement = Measurement(value=searched.examples, unit="batches", n=searched.examples)
    return judged(Verdict.PASSED, reason, measurement, details=details)


def _told(example: Mapping[str, Any] | None) -> str:
    samples = (example or {}).get("samples", [])
    kinds = ", ".join(str(one.get("kind")) for one in samples[:3])
    return f"{len(samples)} ({kinds}{', …' if len(samples) > 3 else ''})"


def unlike(  # noqa: PLR0913 - what is compared, and by what
    reference: Outputs,
    engine: Outputs,
    scales: Mapping[str, float],
    precision: Precision,
    spec: TolerancesSpec | None = None,
    *,
    where: Where = somewhere,
) -> str:
    """What of ``engine`` differs from ``reference`` by more than ``max_rel`` or ``max_abs`` allow; empty if nothing.

    ``max_rel`` is relative to ``scales``, each output's largest magnitude over the validation data, or to the batch's
    own if that is larger: a batch of zeros has no scale of its own.
    """
    if [name for name, _ in reference] != [name for name, _ in engine]:
        return f"outputs {[name for name, _ in engine]} instead of {[name for name, _ in reference]}"
    for (name, ours), (_, theirs) in zip(reference, engine, strict=True):
        wrong = _apart(name, ours, theirs, scales, precision, spec, where)
        if wrong:
            return wrong
    return ""


def _apart(  # noqa: PLR0913, PLR0917 - as ``unlike``
    name: str,
    ours: Array,
    theirs: Array,
    scales: Mapping[str, float],
    precision: Precision,
    spec: TolerancesSpec | None,
    where: Where,
) -> str:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"output {name!r} is {theirs.dtype}{list(theirs.shape)} instead of {ours.dtype}{list(ours.shape)}"
    exact = ours.dtype.kind != "f"
    bounds = merge(precision, spec, name, exact=exact, where=where)
    left, right = ours.astype(np.float64), theirs.astype(np.float64)
    both = np.isfinite(left) & np.isfinite(right)
    if not (both | (np.isnan(left) & np.isnan(right)) | (left == right)).all():
        return f"output {name!r} is not finite where the reference is, or the other way round"
    apart = float(np.abs(left[both] - right[both]).max(initial=0.0))
    scale = max(float(np.abs(left[both]).max(initial=0.0)), scales.get(name, 0.0))
    allowed = [
        bounds[key].value * (scale if key == "max_rel" else 1.0) for key in ("max_rel", "max_abs") if key in bounds
    ]
    if allowed and apart > min(allowed):
        return f"output {name!r} differs by {apart:.3g}, of a scale of {scale:.3g}, where {min(allowed):.3g} is allowed"
    return ""


def malformed(outputs: Outputs, signature: Signature, sizes: Mapping[str, int]) -> str:
    """What of ``outputs`` has not the signature's name, dtype or shape, or is not finite; empty if all is well.

    ``sizes`` are those of the named dimensions in the inputs; a dimension that no input has may be of any size.
    """
    names, wanted = [name for name, _ in outputs], [spec.name for spec in signature.outputs]
    if names != wanted:
        return f"outputs {names} instead of {wanted}"
    for (name, array), spec in zip(outputs, signature.outputs, strict=True):
        shape = [sizes.get(size) if isinstance(size, str) else size for size in spec.shape]
        fits = len(shape) == array.ndim and all(
            size in {None, have} for size, have in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.name != spec.dtype:
            return f"output {name!r} is {array.dtype}{list(array.shape)} instead of {spec}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"output {name!r} has {int((~np.isfinite(array)).sum())} of {array.size} elements not finite"
    return ""


def unsteady(first: Outputs, again: Outputs) -> str:
    """Which output of the same batch was not the same bit for bit; empty if all were."""
    for (name, ours), (_, theirs) in zip(first, again, strict=True):
        if ours.tobytes() != theirs.tobytes():
            return f"output {name!r} of the same batch is not the same twice"
    return ""


def swayed(first: Outputs, others: Outputs, batch: int, scales: Mapping[str, float], precision: Precision) -> str:
    """Which output of the first sample changed when its batch mates did; empty if none by more than rounding.

    Outputs whose first dimension is not the batch are of no one sample, and left out.
    """
    for (name, ours), (_, theirs) in zip(first, others, strict=True):
        if ours.shape != theirs.shape:
            return f"output {name!r} has another shape when the batch mates change"
        if not ours.ndim or len(ours) != batch or not ours.size:
            continue
        apart = float(np.abs(ours[0].astype(np.float64) - theirs[0].astype(np.float64)).max(initial=0.0))
        scale = max(float(np.abs(ours[0].astype(np.float64)).max(initial=0.0)), scales.get(name, 0.0))
        allowed = ROUNDING[precision] * scale if ours.dtype.kind == "f" else 0.0
        if not apart <= allowed:
            return (
                f"output {name!r} of one sample changes by {apart:.3g} with its batch mates ({allowed:.3g} is rounding)"
            )
    return ""
