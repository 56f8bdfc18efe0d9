"""Small ONNX models for tests, built node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    ir: int = 7,
    dtype: int = TensorProto.FLOAT,
    domain: str = "",
) -> Path:
    """Write a model without checking it; inputs and outputs map names to shapes."""
    first, last = (
        [helper.make_tensor_value_info(n, dtype, list(s)) for n, s in side.items()] for side in (inputs, outputs)
    )
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "test", first, last, tensors)
    sets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=sets)
    model.ir_version = ir
    path.write_bytes(model.SerializeToString())
    return path


def convnet(path: Path, *, batch: int | str = "batch", norm: bool = False, opset: int = 13, named: bool = True) -> Path:
    """Write a convolution (and batch norm), ReLU, mean and dense layer: image[batch, 2, 6, 6] to logits[batch, 4]."""
    random = np.random.default_rng(0)
    weights = {
        "kernel": random.normal(0, 0.5, (8, 2, 3, 3)).astype(np.float32),
        "offset": random.normal(0, 0.5, 8).astype(np.float32),
        "dense": random.normal(0, 0.5, (8, 4)).astype(np.float32),
    }
    names = ["conv", "relu", "mean", "flat", "head"] if named else [""] * 5
    after = "normed" if norm else "mapped"
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "offset"], ["mapped"], name=names[0], kernel_shape=[3, 3]),
        helper.make_node("Relu", [after], ["lit"], name=names[1]),
        helper.make_node("GlobalAveragePool", ["lit"], ["pooled"], name=names[2]),
        helper.make_node("Flatten", ["pooled"], ["flat"], name=names[3]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"], name=names[4]),
    ]
    if norm:
        four = {name: np.abs(random.normal(1, 0.1, 8)).astype(np.float32) for name in ("gain", "bias", "mu", "var")}
        nodes.insert(1, helper.make_node("BatchNormalization", ["mapped", *four], ["normed"], name="norm"))
        weights |= four
    return write(path, nodes, {"image": [batch, 2, 6, 6]}, {"logits": [batch, 4]}, weights, opset=opset)


def images(count: int, seed: int = 0) -> np.ndarray:
    """Return inputs of ``convnet``: float32, shape (count, 2, 6, 6)."""
    return np.random.default_rng(seed).normal(0, 1, (count, 2, 6, 6)).astype(np.float32)


def externalize(model: Path, location: str = "", *, small: int = 0) -> Path:
    """Move weights larger than ``small`` bytes into ``location`` next to the model; return that file."""
    location = location or f"{model.name}.data"
    proto = onnx.load(str(model))
    onnx.convert_model_to_external_data(proto, location=location, size_threshold=small, convert_attribute=True)
    data = model.parent / location
    data.unlink(missing_ok=True)  # onnx appends to an existing file
    onnx.save(proto, str(model))
    return data


def point_to(tensor: TensorProto, location: str, **numbers: int) -> TensorProto:
    """Make ``tensor`` refer to external data at ``location``, with ``offset`` and ``length``; write no file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **numbers}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
