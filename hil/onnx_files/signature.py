"""The signature of an ONNX file: names, dtypes and shapes of its inputs and outputs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hil.agent.protocol.wire import ITEM_SIZES
from hil.agent.runtimes.onnxruntime import WHOLE_FILE
from hil.agent.runtimes.ort_values import NUMBERS
from hil.errors import UserError
from hil.onnx_files.operators import QDQ, foreign, operators, quantized
from hil.onnx_files.random_operators import random_nodes
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    Constant = bool | int | float | tuple[Any, ...]

LARGEST = 2**31 - 1
"""Most bytes of an ONNX file. Source: protobuf.dev, "Proto Limits"."""

_PLACEHOLDER = re.compile(r"\s*|\?+|-\d+|unk(nown|_*\d*)|none", re.IGNORECASE)

Interval = tuple[int, int, int]


LONGEST_NAME = 40
"""Characters of a dimension's name that are shown."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: exactly the file's name, since runtimes bind by it; only ``str(spec)`` is safe to print.
        dtype: numpy's name (``float32``), or ml_dtypes' if numpy has none (``bfloat16``).
        shape: for each dimension its size or its name; ``None`` for a dynamic dimension without a name.
        ranked: whether the file declares a shape; if not, ``shape`` is that of ``hil.toml``, or empty.
        batch_axis: the axis along which samples are stacked; ``None`` for one tensor per call, whatever the batch size.
        value: a constant that is fed in every call.
        range: the least and the greatest valid value.
        carry: the output whose value in the previous step is fed to this input.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
    ranked: bool = True
    batch_axis: int | None = 0
    value: Constant | None = None
    range: tuple[float, float] | None = None
    carry: str | None = None

    @property
    def sample(self) -> tuple[int | str | None, ...]:
        """The shape of one sample: ``shape`` without the batch axis."""
        return tuple(size for axis, size in enumerate(self.shape) if axis != self.batch_axis)

    @property
    def is_given(self) -> bool:
        """Whether data may leave the input out, because its value is declared or carried over."""
        return self.value is not None or self.carry is not None

    def __str__(self) -> str:
        """Return, for example, ``image: float32[batch, 1, 8, 8]``; ``?`` stands for a dimension without a name."""
        names = ("?" if size is None else str(size) for size in self.shape)
        sizes = ", ".join(name if len(name) <= LONGEST_NAME else "…" for name in names)
        if not self.shape and not self.ranked:
            sizes = "unknown rank"
        return clean(f"{self.name}: {self.dtype}[{sizes}]")


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs in the file's order, its opset and IR version, and facts of its operators.

    Attributes:
        inputs: the inputs.
        outputs: the outputs.
        opset: the opset of ONNX's own operators.
        ir_version: the file's IR version.
        foreign: the operators that the host cannot run, as ``domain:operator``.
        quantized: the operators that only a quantizer writes (``hil.onnx_files.operators``).
        random: the nodes that may draw random numbers, as text.
        sizes: ``(min, opt, max)`` by the name of a dynamic dimension, from ``hil.toml``.
        multiples: the number of which a dynamic dimension must be a multiple, by its name, from ``hil.toml``.
        separated: which dimensions were renamed, since their sizes differ.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int = 0
    ir_version: int = 0
    foreign: tuple[str, ...] = ()
    quantized: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
    sizes: Mapping[str, Interval] = field(default_factory=dict)
    multiples: Mapping[str, int] = field(default_factory=dict)
    separated: tuple[str, ...] = ()

    @property
    def has_qdq(self) -> bool:
        """Whether the file has QuantizeLinear or DequantizeLinear nodes."""
        return not QDQ.isdisjoint(self.quantized)

    def input(self, name: str) -> TensorSpec:
        """Return the input called ``name``. Raise ``KeyError`` if there is none."""
        return {spec.name: spec for spec in self.inputs}[name]

    @property
    def carry(self) -> dict[str, str]:
        """The output that feeds each carried input in the next step, by the input's name; empty without a state."""
        return {spec.name: spec.carry for spec in self.inputs if spec.carry is not None}

    @property
    def stacked(self) -> tuple[TensorSpec, ...]:
        """The inputs that have a batch axis, along which samples are stacked."""
        return tuple(spec for spec in self.inputs if spec.batch_axis is not None)

    def batch(self) -> int | None:
        """Return the fixed size of the batch axes; ``None`` if all are dynamic, 1 if no input has a batch axis.

        Raise ``UserError`` if an input lacks its batch axis, or if two inputs have different fixed batch sizes.
        """
        flat = [spec for spec in self.stacked if not 0 <= (spec.batch_axis or 0) < len(spec.shape)]
        sizes = {size for size in self._batch_sizes() if isinstance(size, int)}
        if flat or len(sizes) > 1:
            inputs = "; ".join(str(spec) for spec in self.inputs)
            raise UserError(f"the inputs share no batch dimension ({inputs}): declare the batch_axis of each")
        return next(iter(sizes), None) if self.stacked else 1

    @property
    def alone(self) -> bool:
        """Whether each call takes one sample, because an input that the data must have has no batch axis."""
        return any(one.batch_axis is None and not one.is_given for one in self.inputs)

    @property
    def batched(self) -> bool:
        """Whether an input that the data must have has a batch axis."""
        return any(one.batch_axis is not None and not one.is_given for one in self.inputs)

    def stride(self) -> int | None:
        """Return the number of samples that one call takes; ``None`` if several numbers are possible."""
        one = any(self.sizes.get(name) == (1, 1, 1) for name in self.batch_names())
        return 1 if self.alone or one else self.batch()

    def batch_names(self) -> frozenset[str]:
        """Return the names of the dimensions along which samples are stacked."""
        return frozenset(size for size in self._batch_sizes() if isinstance(size, str))

    def output_axis(self, name: str) -> int | None:
        """Return the axis of output ``name`` along which samples are stacked; ``None`` if unknown or if there is none.

        It is the first axis that has the name of a batch dimension. If no axis has, it is the first axis, provided
        that all inputs with a batch axis are stacked along their first axis, and that the output's first axis has no
        fixed size other than ``batch()``.
        """
        shape = next(spec.shape for spec in self.outputs if spec.name == name)
        named = [axis for axis, size in enumerate(shape) if size in self.batch_names()]
        if named:
            return named[0]
        first = bool(self.stacked) and all(spec.batch_axis == 0 for spec in self.stacked)
        fixed = bool(shape) and isinstance(shape[0], int) and shape[0] != self.batch()
        return 0 if first and not fixed else None

    def without_sizes(self, sizes: Mapping[str, object]) -> list[str]:
        """Return the names of the inputs' dimensions that ``sizes`` lacks, each once; batch axes need none."""
        keys = (
            dimension(one.name, axis) if size is None else size
            for one in self.inputs
            for axis, size in enumerate(one.shape)
            if axis != one.batch_axis
        )
        return list(dict.fromkeys(key for key in keys if isinstance(key, str) and key not in sizes))

    def _batch_sizes(self) -> list[int | str | None]:
        axes = ((spec.shape, spec.batch_axis) for spec in self.inputs)
        return [shape[axis] for shape, axis in axes if axis is not None and axis < len(shape)]


def read_signature(path: Path) -> Signature:
    """Return the inputs and outputs of an ONNX file, without initializers; external weights are not read.

    Raise ``UserError`` for a file that is missing, cut short, not ONNX or without outputs, and for an input or output
    that is not a tensor of numbers.
    """
    return signature_of(read_proto(path), path)


def signature_of(model: onnx.ModelProto, path: Path) -> Signature:
    """Return the same as ``read_signature`` for the file ``path`` that is already parsed."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = tuple(_spec(value, path, "behind") for value in graph.input if value.name not in weights)
    outputs = tuple(_spec(value, path, "before") for value in graph.output)
    if not outputs:
        raise UserError(
            f"{path} has no outputs: model {path.stem}: append the tensors that it computes to graph.output of the file"
        )
    for kind, tensors in (("input", inputs), ("output", outputs)):
        twice = next((name for name, count in Counter(one.name for one in tensors).items() if count > 1), None)
        if twice is not None:
            what = f"remove one of them from graph.{kind} of the file"
            raise UserError(f"{path} has the {kind} {twice!r} twice: model {path.stem}: {what}")
    used = operators(model)
    return Signature(
        inputs,
        outputs,
        opset=max((opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}), default=0),
        ir_version=model.ir_version,
        foreign=foreign(used),
        quantized=quantized(used),
        random=random_nodes(model),
    )


def read_proto(path: Path) -> onnx.ModelProto:
    """Return the parsed ONNX file, without its external weights. Raise ``UserError`` if it cannot be read or parsed."""
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
    return f"cannot read {path} as ONNX ({why}): model {path.stem}: {WHOLE_FILE}"


def _spec(value: onnx.ValueInfoProto, path: Path, side: str) -> TensorSpec:
    """Return an input or output of the file. ``side`` is where the graph is cut if it is of another type."""
    if not value.type.HasField("tensor_type"):
        kind = (value.type.WhichOneof("value") or "value of no type").removesuffix("_type").replace("_", " ")
        raise UserError(
            f"{value.name!r} of {path} is of type {kind}, but only tensors can be fed and compared: model "
            f"{path.stem}: cut the graph {side} it (onnx.utils.extract_model), or export the model without it"
        )
    tensor = value.type.tensor_type
    dtype = element_type(tensor.elem_type)
    if dtype not in ITEM_SIZES:
        raise UserError(
            f"{value.name!r} of {path} has elements of type {dtype}, but only numbers can be fed and compared "
            f"({', '.join(ITEM_SIZES)}): model {path.stem}: cut the graph {side} it (onnx.utils.extract_model), or "
            "export the model with another type"
        )
    shape = tuple(_size(dim) for dim in tensor.shape.dim)
    return TensorSpec(value.name, dtype, shape, ranked=tensor.HasField("shape"))


def dimension(tensor: str, axis: int) -> str:
    """Return the name that hil gives to an axis without a name in the ONNX file, such as ``image[2]``."""
    return f"{tensor}[{axis}]"


def is_placeholder(name: str) -> bool:
    """Return whether exporters write ``name`` for a dimension without a name."""
    return _PLACEHOLDER.fullmatch(name) is not None


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return None if is_placeholder(dim.dim_param) else str(dim.dim_param)


def element_type(element: int) -> str:
    """Return numpy's or ml_dtypes' name of a type of ``onnx.TensorProto``, else ONNX's, else ``onnx type N``."""
    import onnx

    lacking = {number: name for name, number in NUMBERS.items()}
    if element in lacking:
        return lacking[element]
    try:
        name = str(onnx.TensorProto.DataType.Name(element))
    except ValueError:
        return f"onnx type {element}"
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
