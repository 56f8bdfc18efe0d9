"""An error that is gone as soon as intermediates are marked: somewhere among what the runtime fused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hil.diagnose.cutting import marked
from hil.diagnose.seeing import statistics
from hil.diagnose.types import Cause, Culprit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.diagnose.bisect import Case
    from hil.diagnose.graph import Region
    from hil.diagnose.types import Diagnosis, Seen

CURED = 0.1
"""What may be left of the outputs' error for a mark to have mended it."""


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
    region = ordered[high - 1]
    left = _error(case, [region])
    name = region.pair.suspect
    evidence = [
        f"the outputs are off by {sick:.3g}, and by {left:.3g} once this tensor alone is marked as an output "
        f"(found in {steps} builds)",
        "alone every node is within its bound: the runtime's fusion of this node with what follows it is wrong",
    ]
    culprit = Culprit(
        seen=seen[region],
        cause=Cause.FUSION,
        evidence=tuple(evidence),
        suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
        reference=statistics(case.value(name)),
        engine={},
        before=sick,
        after=left,
    )
    return replace(found, culprits=(culprit,))


def _error(case: Case, chosen: Sequence[Region]) -> float:
    """The outputs' largest error with these tensors marked."""
    from hil.diagnose.seeing import error  # noqa: PLC0415 - next to its only use

    model = marked(case.suspect, [region.pair.suspect for region in chosen], case.dtypes)
    got = case.runner(model, case.feeds)
    return max((error(case.expected[name], got[name]) for name in case.reference.outputs if name in got), default=0.0)
