"""Derive the space of a model's valid batches from its signature, its config and its validation data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.dtypes import is_float
from hil.onnx_files.signature import dimension
from hil.onnx_files.valid_positions import IGNORED
from hil.runtimes import runtime_record
from hil.session.engines.shape_profiles import profiles_of
from hil.session.properties.drawing import DRAWN_STEPS, MASKS, MOST_MATES, Space

if TYPE_CHECKING:
    from hil.onnx_files.signature import Signature
    from hil.results import Row
    from hil.session.engine_context import EngineContext

EXAMINED = 8
"""Number of validation batches from which undeclared input ranges and sizes, and the scales of outputs, are derived."""


def space(session: EngineContext, row: Row) -> Space:
    """Return the space of the valid batches of the row's model.

    Ranges and sizes that are not declared are those of the first 8 batches of the validation data.
    """
    signature = session.signature(row.model)
    observed = session.memo.once(("input ranges", row.model), lambda: _observed_inputs(session, row.model))
    ranges = {tensor.name: tensor.range or observed[tensor.name].range for tensor in signature.inputs}
    sizes: dict[str, tuple[int, ...]] = {}
    for tensor in signature.inputs:
        for axis, size in enumerate(tensor.shape):
            if axis != tensor.batch_axis and not isinstance(size, int):
                key = size or dimension(tensor.name, axis)
                sizes[key] = signature.sizes.get(key) or observed[tensor.name].sizes(axis)
    lengths = {
        one.name: observed[one.name].padding[-1 if IGNORED.search(one.name) else 0]
        for one in signature.inputs
        if ranges[one.name] == (0, 1) and one.batch_axis != len(one.shape) - 1 and observed[one.name].padding
    }
    steps = DRAWN_STEPS * bool(signature.carry)
    return Space(signature, ranges, sizes, _batch(session, row, signature), steps, lengths)


def _batch(session: EngineContext, row: Row, signature: Signature) -> tuple[int, int]:
    fixed, spec = signature.stride(), session.model(row.model)
    if fixed is not None:
        return fixed, fixed
    own = next((signature.sizes[name] for name in signature.batch_names() if name in signature.sizes), None)
    if own is None and runtime_record(session.spec.runtime).has_profiles and spec.engine is None:
        first = signature.stacked[0]
        shapes = profiles_of(signature, spec, row.model)[first.name]
        least, own_batch, most = (shape[first.batch_axis or 0] for shape in shapes)
        own = least, own_batch, most
    if own is not None:
        return own[0], min(own[2], max(own[0], MOST_MATES))
    return (1, MOST_MATES) if spec.engine is None else (spec.batch, spec.batch)


@dataclass
class Observed:
    """The least and the greatest value of one input in some batches, and the shapes that the input had there.

    ``padding`` has the keys of ``MASKS`` that describe every observed array as a mask of valid lengths along the last
    axis.
    """

    range: tuple[float, float]
    shapes: set[tuple[int, ...]]
    padding: tuple[str, ...] = tuple(MASKS)

    def sizes(self, axis: int) -> tuple[int, ...]:
        """Return the distinct sizes of ``axis`` in ascending order."""
        return tuple(sorted({shape[axis] for shape in self.shapes}))


def _observed_inputs(session: EngineContext, model: str) -> dict[str, Observed]:
    observed: dict[str, Observed] = {}
    for batch in islice(session.dataset(model).batches(session.model(model).batch), EXAMINED):
        steps = {} if batch.sequence is None else batch.sequence.steps
        for name, first in batch.feeds.items():
            array = steps.get(name, first)
            low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
            ends = observed.setdefault(name, Observed((low, high), set()))
            ends.range = min(low, ends.range[0]), max(high, ends.range[1])
            ends.shapes.add(first.shape)
            ends.padding = tuple(one for one in ends.padding if one in _paddings(array))
    return observed


def _paddings(array: np.ndarray[Any, Any]) -> tuple[str, ...]:
    if is_float(array.dtype) or not array.ndim or not array.size:
        return ()
    whole = array.astype(np.int64)
    if whole.min() < 0 or whole.max() > 1:
        return ()
    # Where the padding is on the left, the last position is valid; where it is marked instead, the first one.
    forms = {"right": whole, "left": whole[..., ::-1], "ignored": 1 - whole}
    return tuple(name for name, one in forms.items() if (one[..., 0] == 1).all() and (np.diff(one) <= 0).all())
