"""Propose for each input what its sizes do not state: batch axis, constant, range, and for a state the output."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hil.onnx_files.batch_axes import USUAL
from hil.onnx_files.valid_positions import MASK, all_count
from hil.proposals.roles import STATE, Role, is_setting, next_states, roles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from hil.onnx_files.signature import Signature, TensorSpec

Axis = int | Literal["none"]
Constant = bool | int | float
Interval = tuple[float, float]


@dataclass(frozen=True)
class Usual:
    """Usual values of an input, by its name: a constant ``value``, or a ``range``."""

    name: re.Pattern[str]
    value: Constant | None = None
    range: Interval | None = None


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


PARAMETERS = (
    Usual(_named(r"^(sr|sample_?rate|sampling_?rate)$"), value=16_000),
    Usual(_named(r"has_mask_input"), value=0),
    Usual(_named(r"train"), value=False),
    Usual(_named(r"iou|nms"), value=0.45),
    Usual(_named(r"thresh"), value=0.25),
    Usual(_named(r"max_(output_boxes|det)"), value=100),
    Usual(_named(r"size|shape"), range=(640, 640)),
    Usual(_named(r"scale"), range=(1, 1)),
)
"""Usual values of inputs that are settings: one for the whole call (``value``), or one for each sample (``range``)."""

RECORDED = frozenset({Role.IMAGE, Role.VIDEO, Role.AUDIO})
WHOLE = {"int8": (-128, 127), "int16": (-32768, 32767), "uint16": (0, 65535)}
"""The range of the inputs with a role in ``RECORDED``, by dtype: cameras and microphones use all of it."""

TOKENS = (
    Usual(_named(r"type|segment"), range=(0, 0)),
    Usual(_named(r"len"), range=(1, 1)),
    Usual(_named(r"byte"), range=(0, 255)),
)
"""Ranges of inputs that accompany token ids."""


@dataclass(frozen=True)
class InputProposal:
    """What is proposed for one input; ``None`` leaves a key out.

    ``carry`` is the output that feeds the input in the next step.
    """

    batch_axis: Axis | None = None
    value: Constant | None = None
    range: Interval | None = None
    carry: str | None = None


def input_proposals(signature: Signature, ranges: Mapping[str, Interval]) -> dict[str, InputProposal]:
    """Return what is proposed for each input of an undeclared signature, by name.

    ``ranges`` has the ranges that the graph shows (``graph_facts.integer_ranges``). Each proposal has a
    batch axis, except for a constant of fixed size.
    """
    kinds, carried, batch = roles(signature), next_states(signature), _batch(signature)
    found = {}
    for tensor in signature.inputs:
        role = kinds[tensor.name]
        usual = _usual(tensor, role)
        interval = all_count(tensor.name, tensor.dtype, len(tensor.shape)) or (None if usual is None else usual.range)
        if interval is None:
            interval = ranges.get(tensor.name)
        if role in RECORDED and interval is None:
            interval = WHOLE.get(tensor.dtype)
        value = None if usual is None or role is not Role.PARAMETER else usual.value
        # A constant of fixed size has no batch axis.
        fixed = value is not None and not (tensor.shape and not isinstance(tensor.shape[0], int))
        axis = None if fixed else _axis(tensor, role, batch)
        one_state = role is Role.STATE and len(tensor.shape) < 2
        if axis == 0 and (one_state or _is_fixed_among_dynamic(tensor, signature)):
            axis = "none"
        if axis == 0 and batch is not None and tensor.shape and tensor.shape[0] in _inner(signature, batch):
            axis = "none"  # one value for each step, such as the positions of tokens
        found[tensor.name] = InputProposal(axis, value, interval, carried.get(tensor.name))
    return found


def _is_fixed_among_dynamic(tensor: TensorSpec, signature: Signature) -> bool:
    """Return whether only this input's first axis has a fixed size (over 1), so that it is not a batch axis."""
    first = tensor.shape[0] if tensor.shape else None
    others = [one.shape[0] for one in signature.inputs if one is not tensor and len(one.shape) > 1]
    return isinstance(first, int) and first > 1 and bool(others) and not any(isinstance(one, int) for one in others)


def other_axes(signature: Signature, proposals: Mapping[str, InputProposal]) -> Iterator[dict[str, InputProposal]]:
    """Yield the proposals with other batch axes of the state inputs, to be tried if a batch is refused."""
    states = [one for one in signature.inputs if proposals[one.name].carry is not None]
    for axis in (0, 1, 2, "none") if states else ():
        fits = all(axis == "none" or int(axis) < len(one.shape) for one in states)
        if fits and any(proposals[one.name].batch_axis != axis for one in states):
            new: Axis = "none" if axis == "none" else int(axis)
            changed = {one.name: InputProposal(new, carry=proposals[one.name].carry) for one in states}
            yield {**proposals, **changed}


def shared_names(signature: Signature, proposals: Mapping[str, InputProposal]) -> set[str]:
    """Return the names that both a batch axis and another axis of the inputs have."""
    places = [
        (size, axis == proposals[one.name].batch_axis)
        for one in signature.inputs
        for axis, size in enumerate(one.shape)
        if isinstance(size, str)
    ]
    return {size for size, is_batch in places if is_batch} & {size for size, is_batch in places if not is_batch}


def without_batch(
    signature: Signature, proposals: Mapping[str, InputProposal], names: Collection[str]
) -> dict[str, InputProposal]:
    """Return the proposals without a batch axis for the inputs whose batch dimension has a name in ``names``."""
    alone = {
        one.name
        for one in signature.inputs
        for axis, size in enumerate(one.shape)
        if axis == proposals[one.name].batch_axis and size in names
    }
    return {name: replace(one, batch_axis="none") if name in alone else one for name, one in proposals.items()}


def _usual(tensor: TensorSpec, role: Role) -> Usual | None:
    table = TOKENS if role is Role.TOKENS else PARAMETERS if role is Role.PARAMETER or is_setting(tensor) else ()
    return next((one for one in table if one.name.search(tensor.name)), None)


def _batch(signature: Signature) -> str | None:
    """Return the name of the batch dimension: a usual name, else one that states share with other inputs.

    Return ``None`` if there is no such name.
    """
    names = [size for one in signature.inputs for size in one.shape if isinstance(size, str)]
    usual = [name for name in names if name.lower() in USUAL]
    if usual:
        return usual[0]
    carried = next_states(signature)
    others = {size for one in signature.inputs if one.name not in carried for size in one.shape}
    shared = [size for one in signature.inputs if one.name in carried for size in one.shape[:2]]
    return next((size for size in shared if isinstance(size, str) and size in others), None)


def _inner(signature: Signature, batch: str) -> set[str]:
    """Return the names of all dimensions but ``batch``, of the inputs that have the dimension ``batch``."""
    return {size for one in signature.inputs if batch in one.shape for size in one.shape if isinstance(size, str)} - {
        batch
    }


def _axis(tensor: TensorSpec, role: Role, batch: str | None) -> Axis:
    shape = tensor.shape
    if batch is not None and batch in shape:
        return shape.index(batch)
    if role is Role.PARAMETER:
        one_a_sample = bool(shape) and not isinstance(shape[0], int)
        return 0 if one_a_sample else "none"
    if role is Role.IMAGE and len(shape) == 3:
        return "none"
    # Layers come first in the states of recurrent layers: [layers, batch, features]. An initial state has no output.
    is_state = role is Role.STATE or (STATE.search(tensor.name) is not None and not MASK.search(tensor.name))
    layers_first = is_state and len(shape) > 2 and isinstance(shape[0], int)
    if layers_first and (not isinstance(shape[1], int) or (shape[1] == 1 and shape[0] != 1)):
        return 1
    return 0
