"""Finds wrong fusions and kernels of the runtime: every node is right alone, but the engine is wrong.

One sign is that the model's outputs become right if intermediate tensors are marked as outputs too. The other sign is a
node that has other values in the whole engine than alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hil.diagnose import suspect as cases
from hil.diagnose.diagnosis import Cause, Culprit
from hil.diagnose.error_bounds import FLOORS
from hil.diagnose.tensor_error import FP16_MAX, error, largest, statistics
from hil.diagnose.variants import marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.diagnose.diagnosis import Diagnosis, NodeErrors
    from hil.diagnose.graph import Region
    from hil.diagnose.running import Values
    from hil.diagnose.suspect import Case

JUMP = 10.0
"""Marking all intermediate tensors as outputs is a fix if it divides the outputs' error by more than this."""

CURED = 0.1
"""Marking some of the tensors as outputs is a fix if less than this share of the outputs' error remains."""


def with_fusion(case: Case, diagnosis: Diagnosis, errors: Mapping[Region, NodeErrors], inside: Values) -> Diagnosis:
    """Return ``diagnosis`` with the wrongly fused (or overflowing) node as its culprit.

    If no node shows a sign of a wrong fusion, return ``diagnosis`` unchanged.
    """
    before, after = (max(outputs.values(), default=0.0) for outputs in (diagnosis.outputs, diagnosis.marked))
    if before <= FLOORS[case.precision]:
        return diagnosis
    if before > JUMP * after:
        return with_cured_tensor(case, diagnosis, errors)
    again = cases.isolated_values(case, inside, fed_by=inside)
    for region, node in errors.items():
        name = region.pair.suspect
        if name not in again or name not in inside:
            continue
        off = error(again[name], inside[name])
        if off > node.bound:
            evidence = (
                f"on the same inputs, the node alone and in the whole engine differ by {off:.2g}",
                f"alone, on the reference's values, it is within its bound of {node.bound:.2g}",
            )
            return replace(diagnosis, culprits=(_fused(case, region, node, evidence, statistics(inside[name])),))
    return diagnosis


def _fused(
    case: Case, region: Region, errors: NodeErrors, evidence: tuple[str, ...], engine: dict[str, Any]
) -> Culprit:
    return Culprit(
        seen=errors,
        cause=Cause.FUSION,
        evidence=evidence,
        suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
        reference=statistics(case.value(region.pair.suspect)),
        engine=engine,
    )


def with_cured_tensor(case: Case, diagnosis: Diagnosis, errors: Mapping[Region, NodeErrors]) -> Diagnosis:
    """Return ``diagnosis`` with one culprit: the node whose tensor, made an output, makes the model's outputs right.

    The node is found by bisection, in about log2(regions) builds. If FP16 cannot hold its values, the culprit is the
    first node whose values FP16 cannot hold.
    """
    ordered = list(errors)
    before = max(diagnosis.outputs.values())
    low, high = 0, len(ordered)  # marking the first ``high`` fixes the outputs, marking the first ``low`` does not
    steps = 0
    while high - low > 1:
        middle = (low + high) // 2
        steps += 1
        if _error(case, ordered[:middle]) < CURED * before:
            high = middle
        else:
            low = middle
    beyond = [region for region in ordered[:high] if _overflows(case, region)]
    if beyond and beyond[-1] is ordered[high - 1]:
        after = _error(case, ordered[:high])
        return replace(diagnosis, culprits=(_overflow(case, beyond, errors, before, after),))
    region = ordered[high - 1]
    after = _error(case, [region])
    evidence = (
        (
            f"the error of the outputs is {before:.3g}, and {after:.3g} with only this tensor marked as an output "
            f"(found in {steps} builds)"
        ),
        "alone, every node is within its bound: the runtime fuses this node with the following ones wrongly",
    )
    culprit = _fused(case, region, errors[region], evidence, {})
    return replace(diagnosis, culprits=(replace(culprit, before=before, after=after),))


def _overflows(case: Case, region: Region) -> bool:
    """Return whether the engine is FP16 and the reference's values of the region exceed the range of FP16."""
    return case.precision == "fp16" and largest(case.value(region.pair.suspect)) > FP16_MAX


def _overflow(
    case: Case, beyond: Sequence[Region], errors: Mapping[Region, NodeErrors], before: float, after: float
) -> Culprit:
    """Return an overflow in the first of the regions ``beyond``, whose tensors FP16 cannot hold, as a culprit."""
    top = largest(case.value(beyond[0].pair.suspect))
    evidence = (
        f"the reference reaches {top:.6g}, FP16 ends at {FP16_MAX:.0f}",
        (
            f"the error of the outputs is {before:.3g}, and {after:.3g} once the tensors up to "
            f"{beyond[-1].pair.suspect!r} are outputs, which are FP32"
        ),
    )
    culprit = _fused(case, beyond[0], errors[beyond[0]], evidence, {})
    return replace(culprit, cause=Cause.OVERFLOW, before=before, after=after)


def _error(case: Case, chosen: Sequence[Region]) -> float:
    """Return the largest error of the model's outputs if the tensors of ``chosen`` are outputs too."""
    model = marked(case.suspect, [region.pair.suspect for region in chosen], case.dtypes)
    outputs = case.runner(model, case.feeds)
    names = [name for name in case.reference.outputs if name in outputs]
    return max((error(case.expected[name], outputs[name]) for name in names), default=0.0)
