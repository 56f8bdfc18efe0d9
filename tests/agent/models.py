"""Small ONNX files that tests generate: opset 13 and IR 7, which every runtime here reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = (np.arange(12, dtype=np.float32) / 10).reshape(4, 3)


def write_model(path: Path, nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], note: str = "") -> Path:
    """Write a model from ``x: float32[n, 4]`` to ``y: float32[n, 3]``. Another ``note`` gives another digest."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], doc_string=note)
    model.ir_version = 7
    onnx.save(model, path)
    return path


def _weights() -> onnx.TensorProto:
    return helper.make_tensor("w", TensorProto.FLOAT, WEIGHTS.shape, WEIGHTS.ravel())


def tiny(path: Path, note: str = "") -> Path:
    """Write ``y = relu(x @ WEIGHTS)``; another ``note`` gives another digest."""
    multiply = helper.make_node("MatMul", ["x", "w"], ["m"], name="multiply")
    return write_model(path, [multiply, helper.make_node("Relu", ["m"], ["y"], name="clip")], [_weights()], note)


def tiny_qdq(path: Path) -> Path:
    """Write ``tiny`` with its input quantized to int8 and dequantized."""
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.01])
    zero = helper.make_tensor("zero", TensorProto.INT8, [], [0])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="dequantize"),
        helper.make_node("MatMul", ["d", "w"], ["m"], name="multiply"),
        helper.make_node("Relu", ["m"], ["y"], name="clip"),
    ]
    return write_model(path, nodes, [_weights(), scale, zero])


def cast(path: Path, source: int, to: int, shape: tuple[int, ...]) -> Path:
    """Write a Cast of ``x`` to ``y``; the two numbers are element types of ``onnx.TensorProto.DataType``."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=to, saturate=1)],
        "cast",
        [helper.make_tensor_value_info("x", source, shape)],
        [helper.make_tensor_value_info("y", to, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11), path)
    return path


def unknown_operator(path: Path) -> Path:
    """Write a model with an operator that no runtime has."""
    return write_model(path, [helper.make_node("Frobnicate", ["x"], ["y"], name="odd_node")], [])


def largest_products(path: Path, products: int) -> Path:
    """Write a chain of products of ``x: float32[1, 64]`` in uint8, scale 1, with weights of 127 in int8, to ``y``."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    small = helper.make_tensor("small", TensorProto.FLOAT, [], [1.0 / (127 * 64)])
    unsigned = helper.make_tensor("unsigned", TensorProto.UINT8, [], [0])
    signed = helper.make_tensor("signed", TensorProto.INT8, [], [0])
    weights = []
    nodes = []
    for number in range(products):
        last = number == products - 1
        rows, columns = 64, 8 if last else 64
        source, target = f"x{number}" if number else "x", "y" if last else f"x{number + 1}"
        scale = "one" if last else "small"
        weights.append(helper.make_tensor(f"w{number}", TensorProto.INT8, (rows, columns), [127] * (rows * columns)))
        nodes += [
            helper.make_node("QuantizeLinear", [source, "one", "unsigned"], [f"q{number}"]),
            helper.make_node("DequantizeLinear", [f"q{number}", "one", "unsigned"], [f"d{number}"]),
            helper.make_node("DequantizeLinear", [f"w{number}", scale, "signed"], [f"v{number}"]),
            helper.make_node("MatMul", [f"d{number}", f"v{number}"], [target]),
        ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [one, small, unsigned, signed, *weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    onnx.save(model, path)
    return path
