"""Which layers a DLA may run: NVIDIA's lists, read as operators."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import parser

from hil.lint.dla_rules import OPERATORS, eligible
from hil.lint.model_graph import Graph, read_graph
from hil.onnx_files.signature import signature_of

HEAD = '<ir_version: 10, opset_import: ["": 21]> '


def graph_of(text: str) -> Graph:
    """Return the graph with these nodes."""
    proto = parser.parse_model(f"{HEAD} g (float[4, 4] x, int8[4, 4] q, float s) => (float[4, 4] y) {text}")
    path = Path("m.onnx")
    return read_graph(path, proto, signature_of(proto, path), {})


def test_operators_that_nvidia_lists_nowhere_are_not_taken() -> None:
    """A DLA runs Split and ReduceMax, but no mean over a plane and no operator that changes the rank."""
    assert {"Conv", "Split", "ReduceMax", "GlobalMaxPool", "Softmax"} <= OPERATORS
    refused = {"Flatten", "GlobalAveragePool", "ReduceMean", "Squeeze", "Unsqueeze", "Erf", "Gather", "Identity"}
    assert not OPERATORS & refused


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("<float[4, 1] w = {1, 1, 1, 1}> { y = MatMul (x, w) }", 1),
        ("<int8[4, 1] w = {1, 1, 1, 1}> { d = DequantizeLinear (w, s) y = Gemm (x, d) }", 1),
        ("{ y = MatMul (x, x) }", 0),
        ("{ d = DequantizeLinear (q, s) y = Gemm (x, d) }", 0),
    ],
    ids=["constant", "quantized constant", "two activations", "quantized activation"],
)
def test_a_product_needs_constant_weights(text: str, taken: int) -> None:
    """A DLA runs a matrix product only with a constant second input, stored in float or in INT8."""
    found = eligible(graph_of(text))
    assert (found.layers, found.eligible) == (1, taken)
