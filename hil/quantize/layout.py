"""Define a layout for each runtime that fuses Q/DQ nodes: which operators get Q/DQ nodes, and where.

TensorRT expects Q/DQ nodes on the inputs of operators with weights, weights stored as float and followed by a Q and a
DQ node, and float biases (TensorRT's guide to quantized types; ModelOpt's ONNX quantizer keeps float biases too). ONNX
Runtime's CPU kernels run in INT8 only if the outputs are quantized as well and the bias is INT32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.onnx_files.precisions import WEIGHTED

if TYPE_CHECKING:
    from hil.runtimes import QdqLayout

OPTIONS_VERSION = 13
"""Part of the key; raise it with every change here that changes a quantized model."""

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
"""Operators that also stay in INT8 on the CPU; nonlinear functions that need more than 8 bits are not among them."""

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
