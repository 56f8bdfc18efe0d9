"""Find a shape that an ONNX file declares but its graph contradicts, and state how to repair the file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.onnx_files.signature import is_placeholder

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

LARGEST = 2**31 - 1
SMALL = 1024
"""Most bytes of a weight whose values shape inference may need, such as the new shape of a Reshape."""

EXAMPLE = 64
"""Dynamic dimensions get example sizes that are multiples of this number, which most networks accept."""

SIZES = (*range(1, 65), 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 416, 448, 480, 512, 640, 768, 1024)
"""Sizes that are tried for the axis of an input, in addition to the sizes of the weights' axes."""

AGAIN = (
    'python -c "import onnx; m = onnx.load({file!r}, load_external_data=False); '
    "[v.type.tensor_type.ClearField('shape') for v in m.graph.output]; del m.graph.value_info[:]; "
    'onnx.save(onnx.shape_inference.infer_shapes(m), {file!r})"'
)
RESIZE = (
    'python -c "import onnx; m = onnx.load({file!r}, load_external_data=False); '
    "m.graph.input[{number}].type.tensor_type.shape.dim[{axis}].dim_value = {size}; "
    'onnx.save(m, {file!r})"'
)
"""Commands that repair the file in place: ``AGAIN`` derives all shapes from the graph, ``RESIZE`` sets one size."""


def wrong_declaration(path: Path) -> str | None:
    """Return which declared shape the ONNX file's graph contradicts, and the command that repairs the file.

    Return ``None`` if no contradiction is known, and for a file that cannot be read.
    """
    import onnx

    try:
        if path.stat().st_size > LARGEST:
            return None
        proto = onnx.load(str(path), load_external_data=False)
        return _wrong(proto, path.name)
    except Exception:  # noqa: BLE001 - only the repair of an error that the caller reports: that error counts
        return None


def _wrong(proto: onnx.ModelProto, file: str) -> str | None:
    import onnx

    declared = [*proto.graph.output, *proto.graph.value_info]
    bare = _bare(proto)
    fault = _contradiction(bare)
    if fault is not None:
        return _wrong_input(bare, file, fault)
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    known = {value.name: value for value in (*inferred.output, *inferred.value_info)}
    outputs = {value.name for value in proto.graph.output}
    for value in declared:
        if value.name in known and _differ(value, known[value.name]):
            what = "output" if value.name in outputs else "the tensor"
            return (
                f"{file} declares {what} {value.name!r} as {_shape(value)}, but its graph gives "
                f"{_shape(known[value.name])}: repair the file with {AGAIN.format(file=file)}"
            )
    return _wrong_name(proto, bare, file)


def _wrong_name(proto: onnx.ModelProto, bare: onnx.ModelProto, file: str) -> str | None:
    """Return the message for an output dimension that has the name, but not the size, of an input's dimension.

    ``bare`` is the model in which only the inputs have declared shapes; it is changed. Return ``None`` if there is no
    such output.
    """
    import onnx

    sizes: dict[str, int] = {}
    for value in bare.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param and not is_placeholder(dimension.dim_param):
                dimension.dim_value = sizes.setdefault(dimension.dim_param, EXAMPLE * (len(sizes) + 1))
    if not sizes or _contradiction(bare) is not None:
        return None
    inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(bare, data_prop=True).graph.output}
    for value in proto.graph.output:
        sized = onnx.ValueInfoProto()
        sized.CopyFrom(value)
        for dimension in sized.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
        if _differ(sized, inferred[value.name]):
            example = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            return (
                f"{file} declares output {value.name!r} as {_shape(value)}, but its graph gives "
                f"{_shape(inferred[value.name])} for {example}: {_one(value)}repair the file with "
                f"{AGAIN.format(file=file)}"
            )
    return None


def _one(value: onnx.ValueInfoProto) -> str:
    """Return advice if the output's first axis has size 1, since the network may take only one sample; else empty."""
    first = value.type.tensor_type.shape.dim[:1]
    takes_one = "if the network takes one sample, declare 1 as its size in [models.NAME.inputs.INPUT] shape; else "
    return takes_one if first and first[0].dim_value == 1 else ""


def _bare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which only inputs have declared shapes, without the values of larger weights."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    for tensor in bare.graph.initializer:
        if len(tensor.raw_data) > SMALL:
            tensor.ClearField("raw_data")
    return bare


def _contradiction(proto: onnx.ModelProto) -> str | None:
    """Return the first error of strict shape inference, such as a matrix product of sizes that do not match."""
    import onnx

    try:
        onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        return str(error).partition("Inference error(s): ")[2].split("\n")[0]
    return None


def _wrong_input(bare: onnx.ModelProto, file: str, fault: str) -> str | None:
    """Return the message that names the input axis whose size must change least to fit the graph, and its new size.

    Return ``None`` if no change of a single axis makes the shapes fit.
    """
    weights = {tensor.name for tensor in bare.graph.initializer}
    sizes = {size for tensor in bare.graph.initializer for size in tensor.dims if size <= max(SIZES)} | set(SIZES)
    best: tuple[float, str] | None = None
    for number, value in enumerate(bare.graph.input):
        shown = f"{file} declares input {value.name!r} as {_shape(value)}, which its graph contradicts ({fault})"
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            before = dimension.dim_value
            if value.name in weights or not before:
                continue
            dimension.dim_param = "free"
            fitting = [] if _contradiction(bare) else [size for size in sizes if _fits(bare, dimension, size)]
            dimension.dim_value = before
            if not fitting:
                continue
            size = min(fitting, key=lambda size: (abs(size - before), size))
            command = RESIZE.format(file=file, number=number, axis=axis, size=size)
            fits = f"with {size} on axis {axis} it fits: if that is the network's size, repair the file with {command}"
            text = f"{shown}; {fits}"
            best = min(best or (math.inf, ""), (abs(size - before) / before, text))
    return None if best is None else best[1]


def _fits(bare: onnx.ModelProto, dimension: onnx.TensorShapeProto.Dimension, size: int) -> bool:
    dimension.dim_value = size
    return _contradiction(bare) is None


def _differ(declared: onnx.ValueInfoProto, inferred: onnx.ValueInfoProto) -> bool:
    ours, theirs = declared.type.tensor_type, inferred.type.tensor_type
    if not ours.HasField("shape") or not theirs.HasField("shape"):
        return False
    if len(ours.shape.dim) != len(theirs.shape.dim):
        return True
    pairs = zip(ours.shape.dim, theirs.shape.dim, strict=True)
    return any(a.HasField("dim_value") and b.HasField("dim_value") and a.dim_value != b.dim_value for a, b in pairs)


def _shape(value: onnx.ValueInfoProto) -> str:
    sizes = [
        size.dim_param or (str(size.dim_value) if size.HasField("dim_value") else "?")
        for size in value.type.tensor_type.shape.dim
    ]
    return f"[{', '.join(sizes)}]"
