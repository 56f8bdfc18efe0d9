"""Nodes that are right by themselves in an engine that is wrong: the fault of what the runtime fused, or chose.

Two signs of it. The outputs come right as soon as intermediates are marked: then bisecting the marks finds the one that
mends them. Or the whole engine, marked, makes of what arrives at a node something else than that node alone does.
A tensor that FP16 cannot hold shows the first sign too where a runtime keeps outputs in FP32: that is an overflow.
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

    from hil.diagnose.diagnosis import Diagnosis, Seen
    from hil.diagnose.graph import Region
    from hil.diagnose.running import Values
    from hil.diagnose.suspect import Case

JUMP = 10.0
"""By how many times the outputs must be better marked than unmarked for marking to have mended them."""

CURED = 0.1
"""What may be left of the outputs' error for a mark to have mended it."""


def looked_for(case: Case, found: Diagnosis, seen: Mapping[Region, Seen], inside: Values) -> Diagnosis:
    """``found`` with the node at which the whole engine errs though every node is right by itself, if there is one."""
    before, after = (max(errors.values(), default=0.0) for errors in (found.outputs, found.marked))
    if before <= FLOORS[case.precision]:
        return found
    if before > JUMP * after:
        return cured_by(case, found, seen)
    again = cases.alone(case, inside, fed_by=inside)
    for region, one in seen.items():
        name = region.pair.suspect
        if name not in again or name not in inside:
            continue
        off = error(again[name], inside[name])
        if off > one.bound:
            told = f"of the very values that arrive there in the whole engine it gives others alone, {off:.2g} apart"
            evidence = (told, f"alone, on the reference's values, it is within its bound of {one.bound:.2g}")
            return replace(found, culprits=(_fused(case, region, one, evidence, statistics(inside[name])),))
    return found


def _fused(case: Case, region: Region, seen: Seen, evidence: tuple[str, ...], engine: dict[str, Any]) -> Culprit:
    return Culprit(
        seen=seen,
        cause=Cause.FUSION,
        evidence=evidence,
        suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
        reference=statistics(case.value(region.pair.suspect)),
        engine=engine,
    )


def cured_by(case: Case, found: Diagnosis, seen: Mapping[Region, Seen]) -> Diagnosis:
    """Bisects for the tensor whose mark mends the outputs: a build a step, as many as the logarithm of the nodes."""
    ordered = list(seen)
    sick = max(found.outputs.values())
    low, high = 0, len(ordered)  # marking the first ``high`` mends it, the first ``low`` does not
    steps = 0
    while high - low > 1:
        middle = (low + high) // 2
        steps += 1
        if _error(case, ordered[:middle]) < CURED * sick:
            high = middle
        else:
            low = middle
    beyond = [one for one in ordered[:high] if _beyond(case, one)]
    if beyond and beyond[-1] is ordered[high - 1]:
        return replace(found, culprits=(_narrow(case, beyond, seen, sick, _error(case, ordered[:high])),))
    region = ordered[high - 1]
    left = _error(case, [region])
    evidence = (
        (
            f"the outputs are off by {sick:.3g}, and by {left:.3g} once this tensor alone is marked as an output "
            f"(found in {steps} builds)"
        ),
        "alone every node is within its bound: the runtime's fusion of this node with what follows it is wrong",
    )
    culprit = _fused(case, region, seen[region], evidence, {})
    return replace(found, culprits=(replace(culprit, before=sick, after=left),))


def _beyond(case: Case, region: Region) -> bool:
    """Whether an FP16 engine cannot hold what the reference has there, unless it is an output and so FP32."""
    return case.precision == "fp16" and largest(case.value(region.pair.suspect)) > FP16_MAX


def _narrow(case: Case, beyond: Sequence[Region], seen: Mapping[Region, Seen], before: float, after: float) -> Culprit:
    """The first of the tensors that FP16 cannot hold, told as an overflow and not as a wrong fusion."""
    top = largest(case.value(beyond[0].pair.suspect))
    evidence = (
        f"the reference reaches {top:.6g}, FP16 ends at {FP16_MAX:.0f}",
        (
            f"the outputs are off by {before:.3g}, and by {after:.3g} once the tensors up to "
            f"{beyond[-1].pair.suspect!r} are outputs, which are FP32"
        ),
    )
    culprit = _fused(case, beyond[0], seen[beyond[0]], evidence, {})
    return replace(culprit, cause=Cause.OVERFLOW, before=before, after=after)


def _error(case: Case, chosen: Sequence[Region]) -> float:
    """The outputs' largest error with these tensors marked."""
    model = marked(case.suspect, [region.pair.suspect for region in chosen], case.dtypes)
    got = case.runner(model, case.feeds)
    return max((error(case.expected[name], got[name]) for name in case.reference.outputs if name in got), default=0.0)
