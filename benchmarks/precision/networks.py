"""Small networks that are quantized as ModelOpt and ONNX Runtime do it, and in the ways that go wrong.

A network is a chain of matrix products, or of convolutions, each followed by a Relu. Weights are random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOATS: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
}
OPSET = 23
E8M0 = TensorProto.FLOAT8E8M0
CHANNELS, SIDE = 16, 4


@dataclass(frozen=True)
class Scheme:
    """How one tensor is quantized.

    Attributes:
        dtype: the type of the quantized values, of ``TensorProto``.
        scale: the type of the scales; ``None`` for the network's own.
        block: values that share a scale along the first axis of a weight or the last of activations; 0 for none.
        channels: whether each output channel has a scale.
        nested: whether the scales are quantized themselves, as NVFP4's.
        zero: the zero point; ``None`` for an input that is left out, which makes the type unsigned.
        stored: whether a weight is stored quantized, with a DQ node only.
    """

    dtype: int
    scale: int | None = None
    block: int = 0
    channels: bool = False
    nested: bool = False
    zero: int | None = 0
    stored: bool = True

    @property
    def is_mx(self) -> bool:
        """Whether this is MXFP8, for which ModelOpt has operators of its own."""
        return self.scale == E8M0 and self.dtype == TensorProto.FLOAT8E4M3FN and self.block > 0


INT8, INT8_WEIGHT = Scheme(TensorProto.INT8), Scheme(TensorProto.INT8, channels=True)
FP8 = Scheme(TensorProto.FLOAT8E4M3FN)
FP4 = Scheme(TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E4M3FN, block=16, nested=True)
INT4 = Scheme(TensorProto.INT4, block=64)
MXFP8 = Scheme(TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E8M0, block=32)


@dataclass(frozen=True)
class Network:
    """What a network is made of.

    Attributes:
        layers: how many matrix products, or convolutions if ``convolutions``.
        width: the number of features of a matrix product.
        dtype: the type of its floats, of ``TensorProto``.
        activations: how the activations of a quantized layer are quantized; ``None`` for not at all.
        weights: how its weights are quantized; ``None`` for not at all.
        quantized: the numbers of the quantized layers; ``None`` for all.
        convolutions: convolutions instead of matrix products.
        between: an operator between the DQ node of a weight and the product: ``Transpose`` or none.
        cast: weights are stored in this type, and cast to that of the network.
        dynamic: activations are quantized at run time by ModelOpt's operator, as NVFP4's.
        after: whether Q and DQ nodes are behind each Relu, with an Abs before the next product.
    """

    layers: int = 8
    width: int = 128
    dtype: int = TensorProto.FLOAT
    activations: Scheme | None = None
    weights: Scheme | None = None
    quantized: frozenset[int] | None = None
    convolutions: bool = False
    between: str = ""
    cast: int | None = None
    dynamic: bool = False
    after: bool = False

    def model(self, seed: int = 0) -> onnx.ModelProto:
        """Return the network; equal seeds give equal files."""
        return _Maker(self, np.random.default_rng(seed)).model()


SOUND: dict[str, tuple[str, Network]] = {
    "int8 matmul": ("int8", Network(activations=INT8, weights=INT8_WEIGHT)),
    "int8 conv": ("int8", Network(activations=INT8, weights=INT8_WEIGHT, convolutions=True)),
    "int8 float weights": ("int8", Network(activations=INT8, weights=replace(INT8_WEIGHT, stored=False))),
    "int8 transposed": ("int8", Network(activations=INT8, weights=INT8, between="Transpose")),
    "int8 but two": ("int8", Network(activations=INT8, weights=INT8_WEIGHT, quantized=frozenset(range(1, 7)))),
    "int8 fp16": ("int8", Network(dtype=TensorProto.FLOAT16, activations=INT8, weights=INT8_WEIGHT)),
    "fp8 matmul": ("fp8", Network(activations=FP8, weights=FP8)),
    "fp8 conv": ("fp8", Network(activations=FP8, weights=FP8, convolutions=True)),
    "fp8 fp16": ("fp8", Network(dtype=TensorProto.FLOAT16, activations=FP8, weights=FP8)),
    "fp8 bf16": ("fp8", Network(dtype=TensorProto.BFLOAT16, activations=FP8, weights=FP8)),
    "fp8 first in float": ("fp8", Network(activations=FP8, weights=FP8, quantized=frozenset(range(1, 8)))),
    "fp4 fp16": ("fp4", Network(dtype=TensorProto.FLOAT16, activations=FP4, weights=FP4, dynamic=True)),
    "fp4 fp32": ("fp4", Network(activations=FP4, weights=FP4, dynamic=True)),
    "mxfp8": ("fp8", Network(dtype=TensorProto.FLOAT16, activations=MXFP8, weights=MXFP8, dynamic=True)),
    "int4 64": ("int4", Network(weights=INT4)),
    "int4 128": ("int4", Network(weights=replace(INT4, block=128))),
    "int4 fp16": ("int4", Network(dtype=TensorProto.FLOAT16, weights=INT4)),
    "fp16": ("fp16", Network(dtype=TensorProto.FLOAT16)),
    "bf16": ("bf16", Network(dtype=TensorProto.BFLOAT16)),
    "fp16 conv": ("fp16", Network(dtype=TensorProto.FLOAT16, convolutions=True)),
}
"""Networks by name, each with the precision that is rightly claimed for it."""


class _Maker:
    """Makes one network."""

    def __init__(self, network: Network, rng: np.random.Generator) -> None:
        self.network, self.rng = network, rng
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[TensorProto] = []

    def model(self) -> onnx.ModelProto:
        """Return the model."""
        net = self.network
        shape = [1, CHANNELS, SIDE, SIDE] if net.convolutions else [1, net.width]
        value = "x"
        for number in range(net.layers):
            value = self._layer(number, value)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", net.dtype, ["batch", *shape[1:]])],
            [helper.make_tensor_value_info(value, net.dtype, None)],
            self.stored,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("trt", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=11)

    def _layer(self, number: int, value: str) -> str:
        net = self.network
        mine = net.quantized is None or number in net.quantized
        activations, weights = (net.activations, net.weights) if mine else (None, None)
        if activations is not None and not net.after:
            value = self._restored(f"{value}_{number}", value, activations)
        shape: tuple[int, ...] = (CHANNELS, CHANNELS, 3, 3) if net.convolutions else (net.width, net.width)
        weight = self._weight(f"w{number}", shape, weights)
        out = f"h{number}"
        if net.convolutions:
            self._node("Conv", [value, weight], out, f"/conv{number}", pads=[1, 1, 1, 1])
        else:
            self._node("MatMul", [value, weight], out, f"/fc{number}/MatMul")
        self._node("Relu", [out], f"r{number}", f"/relu{number}")
        if activations is not None and net.after:
            return self._restored(f"q_{number}", f"r{number}", activations, then="Abs")
        return f"r{number}"

    def _node(self, op: str, read: list[str], out: str, name: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, read, [out], name=name or f"/{out}/{op}", **attributes))

    def _weight(self, name: str, shape: tuple[int, ...], scheme: Scheme | None) -> str:
        net = self.network
        kind = net.dtype if net.cast is None else net.cast
        if scheme is None or not scheme.stored:
            array = (self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype(FLOATS[kind])
            self._store(name, array, kind)
            if net.cast is not None:
                self._node("Cast", [name], f"{name}_cast", to=net.dtype)
                name = f"{name}_cast"
            return name if scheme is None else self._restored(name, name, scheme, weight=shape)
        self._values(f"{name}_quantized", scheme.dtype, shape)
        read = [f"{name}_quantized", *self._scales(name, scheme, shape)]
        restore, domain = ("TRT_MXFP8DequantizeLinear", "trt") if scheme.is_mx else ("DequantizeLinear", "")
        self._node(restore, read, f"{name}_dq", domain=domain, **self._axis(scheme, weight=True))
        if scheme.nested:
            return self._cast(f"{name}_dq")
        if net.between:
            self._node(net.between, [f"{name}_dq"], f"{name}_moved", perm=[1, 0])
            return f"{name}_moved"
        return f"{name}_dq"

    def _restored(self, name: str, value: str, scheme: Scheme, *, weight: tuple[int, ...] = (), then: str = "") -> str:
        """Quantize and restore ``value``; return the restored tensor."""
        net = self.network
        blocks: dict[str, Any]
        if net.dynamic and not weight and not scheme.nested:
            blocks = {"axis": -1, "block_size": scheme.block}
            given = [f"{name}_q", f"{name}_scales"]
            self.nodes.append(helper.make_node("TRT_MXFP8DynamicQuantize", [value], given, domain="trt", **blocks))
            self._node("TRT_MXFP8DequantizeLinear", given, f"{name}_dq", domain="trt", **blocks)
        elif net.dynamic and not weight:
            self._store(f"{name}_global", np.asarray(0.05, np.float32), TensorProto.FLOAT)
            settings: dict[str, Any] = {"axis": -1, "block_size": scheme.block, "scale_type": scheme.scale}
            read, given = [value, f"{name}_global"], [f"{name}_q", f"{name}_scales"]
            self.nodes.append(helper.make_node("TRT_FP4DynamicQuantize", read, given, domain="trt", **settings))
            self._node("DequantizeLinear", [f"{name}_scales", f"{name}_global"], f"{name}_scale")
            blocks = {"axis": -1, "block_size": scheme.block}
            self._node("DequantizeLinear", [f"{name}_q", f"{name}_scale"], f"{name}_dq", **blocks)
            return self._cast(f"{name}_dq")
        else:
            extra = self._scales(name, scheme, weight or (1,))
            axis = self._axis(scheme, weight=bool(weight))
            self._node("QuantizeLinear", [value, *extra], f"{name}_q", **axis)
            self._node("DequantizeLinear", [f"{name}_q", *extra], f"{name}_dq", **axis)
        if then:
            self._node(then, [f"{name}_dq"], f"{name}_then")
            return f"{name}_then"
        return f"{name}_dq"

    def _cast(self, name: str) -> str:
        """Return ``name`` cast from float32 to the network's type."""
        if self.network.dtype == TensorProto.FLOAT:
            return name
        self._node("Cast", [name], f"{name}_cast", to=self.network.dtype)
        return f"{name}_cast"

    def _axis(self, scheme: Scheme, *, weight: bool) -> dict[str, Any]:
        if scheme.block:
            return {"axis": 0 if weight else -1, "block_size": scheme.block}
        return {"axis": 0 if self.network.convolutions else 1} if weight and scheme.channels else {}

    def _scales(self, name: str, scheme: Scheme, shape: tuple[int, ...]) -> list[str]:
        """Store scales and zero point, and return the names that Q and DQ nodes read behind their first input."""
        kind = self.network.dtype if scheme.scale is None else scheme.scale
        dims: tuple[int, ...] = ()
        if scheme.block:
            dims = (shape[0] // scheme.block, *shape[1:])
        elif scheme.channels:
            dims = (shape[0 if self.network.convolutions else -1],)
        scale = f"{name}_scale"
        if scheme.nested:
            self._values(f"{name}_scales", kind, dims)
            self._store(f"{name}_global", np.asarray(0.05, np.float32), TensorProto.FLOAT)
            self._node("DequantizeLinear", [f"{name}_scales", f"{name}_global"], scale)
        elif scheme.is_mx:  # ModelOpt's operator takes the exponents as bytes
            self._values(scale, TensorProto.UINT8, dims, 127)
        else:
            self._values(scale, kind, dims, 0.05)
        if scheme.zero is None or scheme.block or scheme.nested:
            return [scale]
        self._values(f"{name}_zero", scheme.dtype, dims, scheme.zero)
        return [scale, f"{name}_zero"]

    def _values(self, name: str, kind: int, dims: tuple[int, ...], value: float = 1.0) -> None:
        """Store a tensor that is filled with ``value``."""
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        self._store(name, np.full(dims, value, np.float32).astype(dtype), kind)

    def _store(self, name: str, array: Any, kind: int) -> None:
        tensor = numpy_helper.from_array(np.asarray(array), name)
        assert tensor.data_type == kind, (name, tensor.data_type, kind)  # noqa: S101 - of this file alone
        self.stored.append(tensor)
