"""A small recurrent model with a state, and sequences for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INPUTS, STATES, OUTPUTS = 3, 4, 2
CARRY = {"h": "hn"}
WEIGHTS = {
    "w": np.random.default_rng(0).normal(0, 0.5, (INPUTS, STATES)).astype(np.float32),
    "r": np.random.default_rng(1).normal(0, 0.4, (STATES, STATES)).astype(np.float32),
    "c": np.random.default_rng(2).normal(0, 0.7, (STATES, OUTPUTS)).astype(np.float32),
}

LAST = helper.make_node("ReduceMean", ["h"], ["last"], axes=[0], keepdims=1)
"""A node that makes a state of one row from a cache of any length."""


def write_cell(
    path: Path,
    *,
    fed: str = "h",
    batch: int | str = "batch",
    after: Sequence[onnx.NodeProto] = (),
    scale: float = 1.0,
    grown: str = "hn",
) -> Path:
    """Write ``hn = tanh(x w + scale h r)``, ``y = hn c`` with ``x: [batch, 3]``, ``h: [1, batch, 4]``.

    ``fed`` is the tensor used as ``h``, made by the nodes ``after``; ``grown`` is the tensor used as ``hn``.
    """
    nodes = [
        *after,
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("MatMul", [fed, "r"], ["hr"]),
        helper.make_node("Mul", ["hr", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "xw"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["hn"] if grown == "hn" else ["next"]),
        *([] if grown == "hn" else [helper.make_node("Concat", ["next", "h"], ["hn"], axis=0)]),
        helper.make_node("MatMul", ["hn" if grown == "hn" else "next", "c"], ["yy"]),
        helper.make_node("Squeeze", ["yy", "zero"], ["y"]),
    ]
    weights = {**WEIGHTS, "scale": np.array(scale, np.float32), "zero": np.array([0])}
    first: int | str = 1 if grown == "hn" else "kept"
    graph = helper.make_graph(
        nodes,
        "cell",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, INPUTS]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [first, batch, STATES]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, OUTPUTS]),
            helper.make_tensor_value_info("hn", TensorProto.FLOAT, [1 if grown == "hn" else None, batch, STATES]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)
    return path


def inputs(sequences: int = 4, steps: int = 30, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return smooth inputs [sequences, steps, 3]."""
    noise = np.random.default_rng(seed).normal(size=(sequences, steps, INPUTS))
    return np.sin(np.cumsum(0.4 * noise, axis=1)).astype(np.float32)


def expected(x: np.ndarray[Any, Any], start: np.ndarray[Any, Any] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Return the outputs for ``x``, [steps, batch, 3]: ``y``, [steps, batch, 2], and ``hn``, [steps, 1, batch, 4]."""
    state = np.zeros((1, x.shape[1], STATES), np.float32) if start is None else start
    rows: dict[str, list[np.ndarray[Any, Any]]] = {"y": [], "hn": []}
    for step in x:
        state = np.tanh(step @ WEIGHTS["w"] + state @ WEIGHTS["r"])
        rows["hn"].append(state)
        rows["y"].append((state @ WEIGHTS["c"])[0])
    return {name: np.stack(one) for name, one in rows.items()}
