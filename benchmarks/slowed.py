"""The bundled models with a node more: how a slowdown of a known size is put into an engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT = Path(__file__).parent.parent
LEAST = -3.0e38
"""Under every answer of the bundled models, so that the largest of it and an answer is the answer."""


def slowed(model: str, path: Path, operands: int) -> None:
    """Writes ``model`` to ``path`` with a node more at its first output: the maximum of it and ``operands`` constants.

    It answers as before. ONNX Runtime takes the maximum operand by operand, each of which costs the same again.
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
