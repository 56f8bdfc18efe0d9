"""Define the request for a control beside a timed series, and read the agent's answer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.stats.control import ControlSeries

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

SHARE = 0.04
"""The share of a series' time, including its warm-up, that the control may take. It must stay below 5 %."""


@dataclass(frozen=True)
class ControlOrder:
    """A control that is to be timed beside a series.

    Attributes:
        workload: name and version of the workload.
        key: the key of its engine in the target's store.
        options: the options of loading it.
    """

    workload: str
    key: str
    options: Mapping[str, Any]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the request to the agent."""
        return {"key": self.key, "options": dict(self.options), "share": SHARE}

    @property
    def method(self) -> dict[str, Any]:
        """The field ``control`` of the series' method (``hil.series.without_control``)."""
        return {"workload": self.workload, "share": SHARE}


def segments(answer: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Return the facts that the agent's ``answer`` about its control adds to a series of ``n`` inferences.

    ``segments`` are the numbers of inferences between two pauses, in order; left out if there was no pause. ``control``
    has the ``seconds`` that the control took, and ``why_not`` if it was not timed.
    """
    facts: dict[str, Any] = {"control": {"seconds": float(answer["seconds"])}}
    if answer["why_not"]:
        facts["control"]["why_not"] = str(answer["why_not"])
    edges = sorted({0, n, *(int(cut) for cut in answer["cuts"] if 0 < cut < n)})
    return facts if len(edges) < 3 else {**facts, "segments": [end - begin for begin, end in pairwise(edges)]}


def control_series(
    workload: str, answer: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]
) -> ControlSeries | None:
    """Return the series of the control ``workload``; ``None`` without a complete window.

    ``answer`` is the agent's answer about the control, and ``columns`` its arrays by name. Raise ``ValueError`` or
    ``KeyError`` if they are malformed.
    """
    sizes = tuple(int(size) for size in answer["sizes"])
    start, duration = (columns[name].astype(np.float64) for name in ("control_start", "control_duration"))
    if sum(sizes) > duration.size or start.shape != duration.shape or min(sizes, default=1) < 1:
        raise ValueError(f"the windows of the control have {sizes} inferences, {duration.size} were sent")
    if answer["why_not"] or not sizes:
        return None
    return ControlSeries(workload, start, duration, sizes, float(answer["seconds"]))
