"""Networks whose claimed precision is wrong, each in one way, with words that the reason must contain."""

from __future__ import annotations

from dataclasses import replace

from onnx import TensorProto

from benchmarks.precision.networks import FP4, FP8, INT4, INT8, INT8_WEIGHT, MXFP8, Network

FIRST = frozenset({0})
HALF = TensorProto.FLOAT16
NVFP4 = Network(dtype=HALF, activations=FP4, weights=FP4, dynamic=True)
"""The sound network of which several wrong ones are made."""

WRONG: dict[str, tuple[str, Network, str]] = {
    "int8 declared fp8": (
        "fp8",
        Network(activations=INT8, weights=INT8_WEIGHT),
        "is declared fp8: they are 100.0% int8",
    ),
    "int8 convolutions declared fp8": (
        "fp8",
        Network(activations=INT8, weights=INT8_WEIGHT, convolutions=True),
        "is declared fp8: they are 100.0% int8",
    ),
    "fp8 declared int8": ("int8", Network(activations=FP8, weights=FP8), "is declared int8"),
    "fp8 declared fp4": ("fp4", Network(activations=FP8, weights=FP8), "is declared fp4"),
    "fp4 declared fp8": ("fp8", NVFP4, "is declared fp8"),
    "int8 declared int4": ("int4", Network(activations=INT8, weights=INT8_WEIGHT), "is declared int4"),
    "float declared int8": ("int8", Network(), "is declared int8"),
    "float declared fp16": ("fp16", Network(), "is declared fp16"),
    "half floats declared bf16": ("bf16", Network(dtype=HALF), "is declared bf16"),
    "fp16 weights only": ("fp16", Network(cast=HALF), "is declared fp16: they are 100.0% fp32"),
    "bf16 weights only": ("bf16", Network(cast=TensorProto.BFLOAT16), "is declared bf16: they are 100.0% fp32"),
    "one of forty in int8": (
        "int8",
        Network(40, activations=INT8, weights=INT8_WEIGHT, quantized=FIRST),
        "only 1 of 40",
    ),
    "one of forty in fp8": ("fp8", Network(40, activations=FP8, weights=FP8, quantized=FIRST), "only 1 of 40"),
    "one of forty in fp4": (
        "fp4",
        replace(NVFP4, layers=40, quantized=FIRST),
        "only 1 of 40",
    ),
    "one of forty in int4": ("int4", Network(40, weights=INT4, quantized=FIRST), "only 1 of 40"),
    "fp8 weights only": ("fp8", Network(weights=FP8), "is declared fp8"),
    "int8 weights only": ("int8", Network(weights=INT8_WEIGHT), "is declared int8"),
    "fp8 activations only": ("fp8", Network(activations=FP8), "is declared fp8"),
    "int4 activations": ("int4", Network(activations=INT8, weights=INT4), "is declared int4"),
    "int8 behind the products": (
        "int8",
        Network(activations=INT8, weights=INT8_WEIGHT, after=True),
        "is declared int8",
    ),
    "fp4 in blocks of 32": (
        "fp4",
        replace(NVFP4, activations=replace(FP4, block=32), weights=replace(FP4, block=32)),
        "in blocks of 32",
    ),
    "fp4 weights in blocks of 32": ("fp4", replace(NVFP4, weights=replace(FP4, block=32)), "in blocks of 32"),
    "fp4 with float scales": (
        "fp4",
        replace(NVFP4, weights=replace(FP4, scale=None, nested=False)),
        "with float16 scales",
    ),
    "fp4 with mx scales": (
        "fp4",
        replace(NVFP4, weights=replace(FP4, scale=TensorProto.FLOAT8E8M0, nested=False)),
        "with float8_e8m0fnu scales",
    ),
    "fp4 with one level of scales": ("fp4", replace(NVFP4, weights=replace(FP4, nested=False)), "float8_e4m3fn scales"),
    "int4 in blocks of 32": ("int4", Network(weights=replace(INT4, block=32)), "in blocks of 32"),
    "int4 for each channel": (
        "int4",
        Network(weights=replace(INT4, block=0, channels=True)),
        "int4 with float32 scales",
    ),
    "int4 without a sign": ("int4", Network(weights=replace(INT4, dtype=TensorProto.UINT4)), "uint4"),
    "fp8 of the other kind": (
        "fp8",
        Network(activations=replace(FP8, dtype=TensorProto.FLOAT8E5M2), weights=FP8),
        "float8_e5m2",
    ),
    "fp8 with mx scales and no blocks": (
        "fp8",
        Network(activations=replace(FP8, scale=TensorProto.FLOAT8E8M0), weights=FP8),
        "with float8_e8m0fnu scales",
    ),
    "mxfp8 in blocks of 16": (
        "fp8",
        Network(dtype=HALF, activations=replace(MXFP8, block=16), weights=replace(MXFP8, block=16), dynamic=True),
        "in blocks of 16",
    ),
    "int8 in blocks": (
        "int8",
        Network(activations=INT8, weights=replace(INT8, block=64)),
        "int8 in blocks of 64",
    ),
    "int8 with a zero point": (
        "int8",
        Network(activations=replace(INT8, zero=3), weights=INT8_WEIGHT),
        "are not 0",
    ),
    "int8 without a sign": (
        "int8",
        Network(activations=replace(INT8, dtype=TensorProto.UINT8), weights=INT8_WEIGHT),
        "uint8",
    ),
}
"""By name: the precision that is claimed, the network, and words of the reason."""
