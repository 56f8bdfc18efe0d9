"""The bundled models with one additional node, which slows the engine down by a known amount."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT = Path(__file__).parent.parent
LEAST = -3.0e38
"""A constant below every output value of the bundled models, so that the maximum with it is the output."""


def slowed(model: str, path: Path, operands: int) -> None:
    """Write ``model`` to ``path`` with an added node: the maximum of its first output and ``operands`` constants.

    Its outputs are unchanged. ONNX Runtime computes the maximum operand by operand, each at the same cost.
    """
    proto = onnx.load(str(ROOT / "examples" / model / "model.onnx"))
    graph = proto.graph
    name = graph.output[0].name
    inner = f"{name}_before"
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [inner if each == name else each for each in field]
    graph.initializer.append(numpy_helper.from_array(np.array(LEAST, np.float32), "least"))
    graph.node.append(helper.make_node("Max", [inner, *["least"] * operands], [name], name="added"))
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))
