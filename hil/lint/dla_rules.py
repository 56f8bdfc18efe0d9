"""Which layers a DLA may run, judged by their operators.

The result is an upper bound, since sizes and attributes are not examined.

Sources: NVIDIA's guide to the DLA, "Layer Support and Restrictions", and NVIDIA's list of ONNX operators for Orin's DLA
(operators/README.md of NVIDIA/Deep-Learning-Accelerator-SW at ea61780e, TensorRT 8.6). An operator is listed if either
names it. Neither has GlobalAveragePool, which the parser makes a mean, nor Flatten. Nothing was run on a DLA.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.lint.model_findings import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import onnx

    from hil.lint.machine import Machine
    from hil.lint.model_graph import Graph

OPERATORS = frozenset(
    [
        "Abs",
        "Add",
        "Atan",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Concat",
        "Conv",
        "ConvTranspose",
        "Cos",
        "Div",
        "Equal",
        "Gemm",
        "GlobalMaxPool",
        "Greater",
        "LRN",
        "LeakyRelu",
        "Less",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "PRelu",
        "Pow",
        "ReduceMax",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Sin",
        "Slice",
        "Softmax",
        "Split",
        "Sub",
        "Sum",
        "Tanh",
        "Transpose",
        "Upsample",
    ]
)
QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
COSTLESS = frozenset({"Constant", "Identity", "Dropout"}) | QDQ
"""Operators that do not become layers of an engine."""

PRODUCTS = frozenset({"Gemm", "MatMul"})
"""A DLA runs them as convolutions, so their second input must be constant."""

PRECISIONS = frozenset({"fp16", "int8"})
LAST_WITH_DLA, FIRST_AGAIN = (10, 7), (11, 4)
"""Releases of TensorRT: the last 10.x with a DLA, and the first 11.x. Source: NVIDIA's guide to the DLA, 11.4.1."""

LEAVE = "leave dla out of [models.M.build] for this target"


@dataclass(frozen=True)
class Eligible:
    """How many of the model's ``layers`` may run on a DLA (``eligible``), and how often each other operator occurs."""

    layers: int
    eligible: int
    others: Counter[str]

    def __str__(self) -> str:
        """Return, for example, ``at most 40 of 44 layers (not Gather, Erf)``."""
        names = ", ".join(name for name, _ in self.others.most_common(6))
        return f"at most {self.eligible} of {self.layers} layers" + (f" (not {names})" if names else "")


def eligible(graph: Graph) -> Eligible:
    """Return how many layers of the main graph a DLA may run, and the operators of all other layers."""
    nodes = [node for node in graph.proto.graph.node if node.op_type not in COSTLESS]
    others = Counter(node.op_type for node in nodes if not _may_run(graph, node))
    return Eligible(len(nodes), len(nodes) - others.total(), others)


def _may_run(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type not in PRODUCTS:
        return node.op_type in OPERATORS
    second = node.input[1] if len(node.input) > 1 else ""
    first = graph.before(second, QDQ | {"Transpose"})
    return (second if first is None else first.input[0]) in graph.constants


def has_dla(machine: Machine) -> bool | None:
    """Return whether the module has a DLA that its TensorRT supports; ``None`` if unknown."""
    if machine.module is not None and machine.module.dla == 0:
        return False
    numbers = tuple(int(part) for part in (machine.tensorrt or "").split(".")[:2] if part.isdecimal())
    if numbers and LAST_WITH_DLA < numbers < FIRST_AGAIN:
        return False
    return None if machine.module is None or machine.module.dla is None or not numbers else True


def dla_findings(graph: Graph, machine: Machine, precisions: Collection[str]) -> Iterator[Finding]:
    """Yield the findings on a model that the config assigns to a DLA core."""
    if has_dla(machine) is False:
        yield Finding("dla", "build.dla", f"there is no DLA that TensorRT can use on {machine}", LEAVE)
        return
    if not PRECISIONS & set(precisions):
        what = f"a DLA computes in fp16 and int8, and precisions has {', '.join(precisions)}"
        yield Finding("dla", "build.dla", what, "add fp16 or int8 to precisions")
    bound = eligible(graph)
    if not bound.eligible:
        yield Finding("dla", "build.dla", f"a DLA can take none of the {bound.layers} layers", LEAVE)
    elif bound.others:
        fix = "replace these operators, or set limits.dla_fallback to what the robot can accept"
        yield Finding("dla", "build.dla", f"a DLA can take {bound}; the GPU runs the others", fix, "warn")
