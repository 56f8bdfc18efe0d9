"""Separate dimensions of an ONNX file whose equal names do not mean equal sizes.

TensorRT and ONNX Runtime require equal sizes for equal names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hil.onnx_files.signature import dimension, is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

    from hil.onnx_files.signature import TensorSpec

    Dimension = onnx.TensorShapeProto.Dimension


@dataclass(frozen=True)
class Unequal:
    """Two axes with the same dimension ``name`` but different sizes.

    ``new`` is the axis to rename, ``kept`` the other one; each is input, axis and size. ``str`` returns a sentence on
    the new name and its reason.
    """

    name: str
    new: tuple[str, int, int]
    kept: tuple[str, int, int]

    def __str__(self) -> str:
        (tensor, axis, size), (other, other_axis, other_size) = self.new, self.kept
        where = f"axis {other_axis} of it" if other == tensor else f"axis {other_axis} of {other!r}"
        return (
            f"dimension {self.name!r} has size {size} on axis {axis} of input {tensor!r}, but {other_size} on {where}: "
            f"axis {axis} of {tensor!r} is now named {dimension(tensor, axis)!r}"
        )


def unequal(inputs: Sequence[TensorSpec], sizes: Mapping[tuple[str, int], int]) -> list[Unequal]:
    """Return each axis whose size differs from that of the first axis with the same name, in the order of the inputs.

    Batch axes come before all other axes. ``sizes`` has the sizes in one call, by input and axis; axes that it lacks
    are left out.
    """
    places = [(one, axis) for one in inputs for axis in range(len(one.shape)) if (one.name, axis) in sizes]
    first: dict[str, tuple[str, int, int]] = {}
    found = []
    for one, axis in sorted(places, key=lambda place: place[0].batch_axis != place[1]):
        name, new = one.shape[axis], (one.name, axis, sizes[one.name, axis])
        if isinstance(name, str) and first.setdefault(name, new)[2] != new[2]:
            found.append(Unequal(name, new, first[name]))
    return found


def separated(inputs: Sequence[TensorSpec], found: Sequence[Unequal]) -> tuple[TensorSpec, ...]:
    """Return ``inputs``, in which each axis ``new`` of ``found`` is named by its position (``dimension``)."""
    new = {one.new[:2] for one in found}
    return tuple(
        replace(
            one,
            shape=tuple(
                dimension(one.name, axis) if (one.name, axis) in new else size for axis, size in enumerate(one.shape)
            ),
        )
        for one in inputs
    )


def separate(proto: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> bool:
    """Rename the dimensions of ``proto`` that share a name without sharing a size; return whether any was renamed.

    Each gets the name that it has in ``inputs``, else one by its position (``dimension``). Sizes and other names stay.
    """
    declared = {(one.name, axis): size for one in inputs for axis, size in enumerate(one.shape)}
    main = {(value.name, axis): size for value in proto.graph.input for axis, size in _named(value)}
    fields = [proto.functions, proto.graph.output, proto.graph.value_info, proto.graph.node]
    inner = [
        ((value.name, axis), size)
        for field in fields
        for message in field
        for value in _values(message)
        for axis, size in _named(value)
    ]
    meanings: dict[str, set[object]] = {}
    for place, size in (*main.items(), *inner):
        if is_placeholder(size.dim_param):
            meanings.setdefault(size.dim_param, set()).add(place)
    for place, size in main.items():
        if isinstance(declared.get(place), str) and not is_placeholder(size.dim_param):
            meanings.setdefault(size.dim_param, set()).add(declared[place])
    split = {name for name, different in meanings.items() if len(different) > 1}
    for place, size in inner:
        if size.dim_param in split:
            size.dim_param = dimension(*place)
    for place, size in main.items():
        if size.dim_param in split:
            own = declared.get(place)
            size.dim_param = own if isinstance(own, str) else dimension(*place)
    return bool(split)


def _named(value: onnx.ValueInfoProto) -> list[tuple[int, Dimension]]:
    return [(axis, size) for axis, size in enumerate(value.type.tensor_type.shape.dim) if size.dim_param]


def _values(message: Any) -> Iterator[onnx.ValueInfoProto]:
    """Yield each declaration of a tensor in a model, a graph, a function or a node, at any depth."""
    kind = message.DESCRIPTOR.name
    if kind == "ValueInfoProto":
        yield message
    elif kind in {"ModelProto", "GraphProto", "FunctionProto", "NodeProto", "AttributeProto"}:
        for field, value in message.ListFields():
            if field.message_type is not None:
                for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
                    yield from _values(inner)
