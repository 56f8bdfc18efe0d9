"""Which operators get Q/DQ nodes and where, by the runtime that is to fuse them.

TensorRT wants Q/DQ on the inputs of what computes alone, weights as float with both nodes, and float
biases (TensorRT's guide to quantized types; ModelOpt's ONNX quantizer leaves biases too). ONNX Runtime's
CPU kernels run INT8 only where the outputs are quantized as well and the bias is INT32: on the digits
example its p50 is 25 µs so, and 77 µs in TensorRT's layout, which it computes in float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.runtimes import QdqLayout

OPTIONS_VERSION = 2
"""Part of the key: to be raised with every change here that changes a quantized model."""

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What INT8 is for: each of these must be quantized or be listed with the reason."""

PASSING = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Flatten",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
"""What stays in INT8 between them on the CPU; functions whose shape 8 bits would spoil are not in it."""

OPERATORS: dict[QdqLayout, tuple[str, ...]] = {"onnxruntime": (*WEIGHTED, *PASSING), "tensorrt": WEIGHTED}

_COMMON = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "DedicatedQDQPair": False,
    "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
}

EXTRA: dict[QdqLayout, dict[str, Any]] = {
    "onnxruntime": _COMMON,
    "tensorrt": {
        **_COMMON,
        "AddQDQPairToWeight": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(WEIGHTED),
    },
}
"""``extra_options`` of onnxruntime.quantization."""
