"""Finds where the signal ends: the first node whose values are constant in the engine and vary in the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.diagnose.diagnosis import SignalEnd
from hil.diagnose.variants import patched
from hil.dtypes import is_float
from hil.stats.masks_and_scores import are_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    import numpy.typing as npt

    from hil.diagnose.diagnosis import Node
    from hil.diagnose.graph import Region
    from hil.diagnose.running import Values
    from hil.diagnose.suspect import Case

    Array = npt.NDArray[Any]
    BoolArray = npt.NDArray[np.bool_]

LIVE = 0.01
"""A slice is live if its standard deviation in the reference exceeds this share of the largest of all slices."""

SCORE = 0.25
"""A slice is also live if its values lie from 0 to 1 and vary, and the largest is at least this value.

Such slices are scores, which may share a tensor with boxes in pixels.
"""

CONSTANT = 0.01
"""A live slice is constant if its standard deviation in the engine is less than this share of that in the reference."""

ENOUGH = 10
"""Fewest elements of a slice for which slices are examined one by one; shorter slices are only examined together."""

TRIED = 10
"""Most tensors that are corrected to test whether the outputs then vary: this many of which all live slices are
constant, and this many others.
"""


def signal_end(case: Case, outputs: Values, inside: Values, node_of: Callable[[Region], Node]) -> SignalEnd | None:
    """Return where the signal ends in the engine; ``None`` if the outputs vary, or if no node could be confirmed.

    ``outputs`` are those of the whole engine, ``inside`` its intermediate tensors; ``node_of`` returns a region's node.
    Raises the errors of ``case.runner``.
    """
    dead = _dead_outputs(case, outputs)
    if not dead:
        return None

    def confirmed(at: int) -> bool:
        name = case.regions[at].pair.suspect
        if name in case.suspect.outputs:
            return name in dead
        value = case.value(name).astype(inside[name].dtype)
        corrected = case.runner(patched(case.suspect, name, value), {**case.feeds, name: value})
        return 2 * sum(_dead_outputs(case, corrected).values()) <= sum(dead.values())

    constant = {
        at: lost
        for at, region in enumerate(case.regions)
        if region.pair.suspect in inside
        and (lost := constant_slices(case.value(region.pair.suspect), inside[region.pair.suspect])).any()
    }
    # A quantizer may also make a weak channel constant on which no output depends: only a correction shows the cause.
    whole = [at for at, lost in constant.items() if lost.all()]
    first = next((at for at in whole[:TRIED] if confirmed(at)), None)
    before = [at for at in constant if first is None or at < first]
    for at in before[: -TRIED - 1 : -1]:
        first = at if confirmed(at) else first
    return None if first is None else _described(case, case.regions[first], inside, constant[first], node_of)


def _dead_outputs(case: Case, outputs: Mapping[str, Array]) -> dict[str, int]:
    """Return the outputs with constant slices, and how many they have."""
    counts = {
        name: int(constant_slices(case.expected[name], outputs[name]).sum())
        for name in case.reference.outputs
        if name in case.expected and name in outputs
    }
    return {name: count for name, count in counts.items() if count}


def constant_slices(expected: Array, obtained: Array) -> BoolArray:
    """Return for each live slice of a tensor whether it is constant in the engine.

    A slice is the elements with one index along the shortest axis; the samples' axis and axes of size 1 do not count.
    The result is empty if no slice is live, if the shapes differ, or if the values are not finite floats.
    """
    nothing = np.zeros(0, np.bool_)
    if expected.shape != obtained.shape or not expected.size or not is_float(expected.dtype):
        return nothing
    x, y = _slices(expected), _slices(obtained)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return nothing
    ours, theirs = x.std(axis=1), y.std(axis=1)
    top, low = x.max(axis=1), x.min(axis=1)
    live = (ours > LIVE * ours.max()) | (are_scores(low, top) & (top >= SCORE) & (ours > 0))
    if not (live & (ours > 1e-6 * np.abs(x).max())).any():
        return nothing
    ours, theirs = ours[live], theirs[live]
    if np.sqrt((theirs**2).mean()) < CONSTANT * np.sqrt((ours**2).mean()):
        return np.ones(len(ours), np.bool_)
    lost = theirs < CONSTANT * ours
    return lost if x.shape[1] >= ENOUGH else np.zeros(len(lost), np.bool_)


def _slices(array: Array) -> Array:
    """Return the slices of an array as rows in float64: a single row if slices would have only one element."""
    values = np.array(array, np.float64)
    axes = [axis for axis in range(1, values.ndim) if values.shape[axis] > 1]
    axis = min(axes, key=lambda one: values.shape[one], default=None)
    if axis is None or values.size == values.shape[axis]:
        return values.reshape(1, -1)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _described(
    case: Case, region: Region, inside: Values, lost: BoolArray, node_of: Callable[[Region], Node]
) -> SignalEnd:
    name = region.pair.suspect
    expected, obtained = _slices(case.value(name)), _slices(inside[name])
    flat = (np.ptp(obtained, axis=1) == 0) & (np.ptp(expected, axis=1) > 0)
    values = np.unique(obtained[flat, 0])
    return SignalEnd(
        tensor=region.pair.reference,
        node=node_of(region),
        suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
        constant=int(lost.sum()),
        live=len(lost),
        value=float(values[0]) if len(values) == 1 else None,
        reference=float(expected.std(axis=1).max()),
    )
