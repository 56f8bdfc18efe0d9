"""In which precision each convolution and matrix product of an ONNX file computes, and how its inputs are quantized."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators for which a low precision is intended: nearly all multiply-adds of a network are in them."""

FLOATS = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""The precision in which an operator computes, by the type of the floats that it reads."""

STORED = {
    "int8": "int8",
    "uint8": "int8",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "float4_e2m1fn": "fp4",
    "int4": "int4",
    "uint4": "int4",
}
"""The precision that quantized values have, by their type."""

_PTQ = "python -m modelopt.onnx.quantization --onnx_path={path} --quantize_mode={mode} {data} --output_path={out}"
_TORCH = "python torch_quant_to_onnx.py --timm_model_name=MODEL --qformat=nvfp4 --onnx_save_path={out}"


def how_to_bring(path: str, precision: str) -> str:
    """Return, as advice, the command of NVIDIA's ModelOpt that quantizes the ONNX file ``path`` to ``precision``.

    ModelOpt has no NVFP4 for ONNX files: its example quantizes the PyTorch model and exports it.
    """
    out = f"{path.removesuffix('.onnx')}.{precision}.onnx"
    data = "--calibration_data_path=calibration.npz"
    command = _TORCH if precision == "fp4" else _PTQ
    where = " (examples/torch_onnx of NVIDIA/Model-Optimizer)" if precision == "fp4" else ""
    made = command.format(path=path, mode=precision, data=data, out=out)
    what = f"{precision} needs an ONNX file that is quantized to it: make one with {made}{where}"
    return f"{what}, and write deployed = '{out}'"


@dataclass(frozen=True)
class QuantizedTensor:
    """One tensor that is quantized and restored: a pair of Q and DQ nodes, or stored values and a DQ node.

    Attributes:
        name: the float tensor.
        dtype: the type of the quantized values, as ml_dtypes names it; empty if unknown.
        scale: the type of the scales as they are stored; empty if unknown.
        block: how many values along ``axis`` share a scale; 0 for one scale for the tensor or for each channel.
        axis: the axis of channels or blocks; ``None`` for one scale.
        nested: if the scales are quantized themselves, as in NVFP4, the type of their own scales; empty otherwise.
        constant: whether the values are stored in the file, as weights are.
        dynamic: whether the scales are computed from the values at run time.
        shifted: whether a zero point is not 0.
    """

    name: str
    dtype: str
    scale: str
    block: int = 0
    axis: int | None = None
    nested: str = ""
    constant: bool = False
    dynamic: bool = False
    shifted: bool = False


@dataclass(frozen=True)
class WeightedNode:
    """A convolution or matrix product.

    Attributes:
        name: the node's name; may be empty.
        op: its operator.
        dtype: the type of the floats that it reads, as ml_dtypes names it; empty if unknown.
        first: how its activations are quantized; ``None`` if they are not.
        second: how its weights, or its second activations, are quantized; ``None`` if they are not.
        native: the precision of an operator that reads quantized values itself; empty for all others.
        multiply_adds: the number of multiply-adds for one call; ``None`` if a shape is unknown.
    """

    name: str
    op: str
    dtype: str
    first: QuantizedTensor | None = None
    second: QuantizedTensor | None = None
    native: str = ""
    multiply_adds: int | None = None

    @property
    def precision(self) -> str:
        """The precision that the file declares for this node; empty if its type is unknown.

        Both inputs have to be quantized to the same type; for INT4 the weights alone.
        """
        if self.native:
            return self.native
        kinds = [STORED.get(one.dtype, "") if one else None for one in (self.first, self.second)]
        if kinds[0] is not None and kinds[0] == kinds[1] and kinds[0] != "int4":
            return kinds[0]
        weights = [one for one in (self.first, self.second) if one is not None]
        if len(weights) == 1 and "int4" in kinds and weights[0].constant:
            return "int4"
        return FLOATS.get(self.dtype, "")


@dataclass(frozen=True)
class Precisions:
    """What an ONNX file declares: its convolutions and matrix products in order, and its quantized tensors."""

    nodes: tuple[WeightedNode, ...] = ()
    tensors: tuple[QuantizedTensor, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether the multiply-adds of all nodes are known."""
        return all(one.multiply_adds is not None for one in self.nodes)

    def shares(self) -> dict[str, float]:
        """Return the share of each precision in the multiply-adds, or in the nodes if some shapes are unknown."""
        sizes = [float(one.multiply_adds or 0) if self.counted else 1.0 for one in self.nodes]
        total = sum(sizes) or 1.0
        shares: dict[str, float] = {}
        for node, size in zip(self.nodes, sizes, strict=True):
            shares[node.precision] = shares.get(node.precision, 0.0) + size / total
        return shares
