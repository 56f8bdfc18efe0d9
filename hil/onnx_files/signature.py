"""The signature of an ONNX file: names, dtypes and shapes of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.text import clean

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

LARGEST = 2**31 - 1
"""Most bytes of an ONNX file. Source: protobuf.dev, "Proto Limits"."""

QDQ_OPERATORS = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    ``name`` is the file's own, since runtimes bind by it; ``str(spec)`` is safe to print. ``dtype`` is numpy's name
    (``float32``), or ONNX's where numpy has none (``bfloat16``). A dimension is its size, the name of a dynamic
    dimension, or ``None`` for a dynamic dimension without a name.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        """Return ``image: float32[batch, 1, 8, 8]``, with ``?`` for a dynamic dimension without a name."""
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return clean(f"{self.name}: {self.dtype}[{sizes}]")


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs in the file's order, its opset, IR version and whether it has Q/DQ nodes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int = 0
    ir_version: int = 0
    has_qdq: bool = False

    def input(self, name: str) -> TensorSpec:
        """Return the input called ``name``. Raise ``KeyError`` if there is none."""
        return {spec.name: spec for spec in self.inputs}[name]

    def batch(self) -> int | None:
        """Return the fixed size of the inputs' first dimension, the batch; ``None`` if it is dynamic.

        Raise ``UserError`` for an input without dimensions and for inputs with different fixed sizes, since they have
        no common batch dimension.
        """
        flat = [spec.name for spec in self.inputs if not spec.shape]
        sizes = {spec.name: spec.shape[0] for spec in self.inputs if spec.shape and isinstance(spec.shape[0], int)}
        if flat or len(set(sizes.values())) > 1:
            inputs = "; ".join(str(spec) for spec in self.inputs)
            raise UserError(
                f"the inputs share no batch dimension ({inputs}): export the model with the batch as first dimension"
            )
        return next(iter(sizes.values()), None)


def read_signature(path: Path) -> Signature:
    """Return the inputs and outputs of an ONNX file; external weights are not read.

    Initializers that old exporters also list as inputs are left out. Raise ``UserError`` for a file that is missing,
    cut short or not ONNX, and for an input or output that is not a tensor.
    """
    model = read_proto(path)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = tuple(_spec(value, path) for value in graph.input if value.name not in weights)
    outputs = tuple(_spec(value, path) for value in graph.output)
    if not outputs:
        raise UserError(f"{path} has no outputs: model {path.stem}: export it again / check the file was copied whole")
    return Signature(
        inputs,
        outputs,
        opset=max((opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}), default=0),
        ir_version=model.ir_version,
        has_qdq=any(node.op_type in QDQ_OPERATORS for node in graph.node),
    )


def read_proto(path: Path) -> onnx.ModelProto:
    """Return the parsed ONNX file, without its external weights. Raise ``UserError`` if it is not an ONNX file."""
    import onnx

    # A dependency of onnx, without type stubs.
    decode_error = import_module("google.protobuf.message").DecodeError

    try:
        if path.stat().st_size > LARGEST:
            why = "protobuf files have 2 GiB at most"
            raise UserError(f"cannot read {path} ({why}): model {path.stem}: save it with its weights as external data")
        model: onnx.ModelProto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): model {path.stem}: check the path") from None
    except (decode_error, ValueError, RuntimeError) as error:
        raise UserError(_unreadable(path, str(error).split("\n")[0])) from None
    # Protobuf parses an empty file, and some text files, as an empty message.
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise UserError(_unreadable(path, "it has no graph"))
    return model


def _unreadable(path: Path, why: str) -> str:
    return f"cannot read {path} as ONNX ({why}): model {path.stem}: export it again / check the file was copied whole"


def _spec(value: onnx.ValueInfoProto, path: Path) -> TensorSpec:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "of no type"
        raise UserError(f"{value.name} of {path} is {kind}, not a tensor: export the model with tensors only")
    tensor = value.type.tensor_type
    return TensorSpec(value.name, _dtype_name(tensor.elem_type), tuple(_size(dim) for dim in tensor.shape.dim))


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return str(dim.dim_param) or None


def _dtype_name(element: int) -> str:
    import onnx

    if element == onnx.TensorProto.STRING:
        return "str"
    try:
        name = str(onnx.TensorProto.DataType.Name(element))
    except ValueError:
        return f"onnx type {element}"
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
