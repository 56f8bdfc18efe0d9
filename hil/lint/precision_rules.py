"""Find precisions that the file or the config requires, but that the module or its TensorRT lacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onnx import TensorProto

from hil.jetson.supported_precisions import refusal
from hil.lint.model_findings import Finding
from hil.lint.quantization_rules import DQ, Q, quantized_to
from hil.onnx_files.precisions import STORED
from hil.onnx_files.signature import element_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hil.lint.machine import Machine
    from hil.lint.model_graph import Graph

NVIDIA = re.compile(r"TRT_(?:MX)?(FP8|FP4|INT4)")
"""Operators of ModelOpt, for types that older versions of ONNX do not have."""

FLOATS = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}


def precision_findings(graph: Graph, machine: Machine, asked: Collection[str]) -> Iterator[Finding]:
    """Yield the findings on precisions that the machine cannot run; ``asked`` are those of the config."""
    sm = None if machine.module is None else machine.module.sm
    used = _used(graph)
    for precision in dict.fromkeys((*used, *asked)):
        why = refusal(precision, sm, machine.tensorrt)
        if why and precision in used:
            fix = "export or quantize the model for a precision that it has, or use another module or release"
            yield Finding("precision", "model", f"{why}, and the file is made for {precision}", fix)
        elif why:
            yield Finding("precision", "precisions", why, f"leave {precision} out of precisions for this target")


def _used(graph: Graph) -> list[str]:
    """Return the precisions that the file's types and its Q/DQ nodes need."""
    types = {*graph.types.values(), *(tensor.data_type for tensor in graph.constants.values())}
    used = [name for number, name in FLOATS.items() if number in types]
    kinds = {STORED.get(element_type(quantized_to(graph, node)), "") for node in graph.nodes if node.op_type in {Q, DQ}}
    names = {NVIDIA.search(node.op_type) for node in graph.nodes if "uantize" in node.op_type}
    return used + sorted((kinds | {name[1].lower() for name in names if name}) - {""})
