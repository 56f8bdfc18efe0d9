"""Dynamic sizes: those without declared sizes, names that stand for several sizes, and inputs that are shapes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hil.lint.model_findings import Finding, Level, nodes, tensors
from hil.onnx_files.signature import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from hil.config.spec import ModelSpec
    from hil.lint.model_graph import Graph

SHAPES = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Resize": (3,),
    "Slice": (1, 2, 4),
    "Range": (0, 1, 2),
    "Pad": (1,),
}
"""Inputs, by operator, whose values decide the shape of the result."""

INTEGERS = frozenset({"int32", "int64"})


def shape_findings(graph: Graph, spec: ModelSpec | None, name: str) -> Iterator[Finding]:
    """Yield the findings on dynamic dimensions and on inputs whose values are shapes.

    ``spec`` is the config of the model ``name``; without it, no sizes can be declared, and the finding is a warning.
    """
    signature = graph.signature
    declared = {} if spec is None else {**spec.shapes, **signature.sizes}
    missing = list(dict.fromkeys(signature.without_sizes(declared)))
    if missing:
        from hil.config.explain import written  # loads the config's tables, which most files do not need

        line = ", ".join(f"{written((one,))} = [1, 1, 1]" for one in missing)
        fix = f"write the [min, opt, max] of what the robot feeds: shapes = {{ {line} }} in [models.{name}]"
        what = "TensorRT builds for given sizes, and none are declared"
        level: Level = "warn" if spec is None else "bad"
        yield Finding("dynamic-axes", tensors(missing, "dimension"), what, fix, level)
    yield from _placeholders(graph)
    yield from _shape_inputs(graph)


def _placeholders(graph: Graph) -> Iterator[Finding]:
    places: defaultdict[str, list[str]] = defaultdict(list)
    batches = {f"{one.name}[{one.batch_axis}]" for one in graph.signature.inputs}
    for value in graph.proto.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param and is_placeholder(size.dim_param):
                places[size.dim_param].append(f"{value.name}[{axis}]")
    for placeholder, axes in places.items():
        if len(axes) > 1 and not batches.issuperset(axes):  # batches of several inputs are equal
            what = (
                f"TensorRT takes the sizes named {placeholder!r} for equal, and exporters write it for any unknown size"
            )
            fix = "name each size when exporting (dynamic_axes); hil's own builds separate these axes"
            yield Finding("placeholder", tensors(axes, "axis", "axes"), what, fix, "warn")


def _shape_inputs(graph: Graph) -> Iterator[Finding]:
    for one in graph.signature.inputs:
        readers: list[onnx.NodeProto] = [
            node for node, number in graph.readers.get(one.name, []) if number in SHAPES.get(node.op_type, ())
        ]
        if one.dtype in INTEGERS and readers:
            what = f"its values are the shape that {nodes(readers)} makes, and hil builds no engine with such an input"
            yield Finding("shape-input", f"input {one.name!r}", what, "export the model with that input as a constant")
