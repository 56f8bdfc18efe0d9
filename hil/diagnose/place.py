"""Defines what is known of the place of an error: a region of both graphs, with expected and obtained values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.diagnose.graph import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from hil.diagnose.graph import Graph, Region

    Array = npt.NDArray[Any]

NOT_COMPUTING = frozenset({QUANTIZE, DEQUANTIZE, "Cast", "Constant", "ConstantOfShape", "Identity"})


@dataclass(frozen=True)
class Place:
    """A region, both graphs, and the values of its output: ``expected`` (reference) and ``obtained`` (engine)."""

    reference: Graph
    suspect: Graph
    region: Region
    precision: str
    expected: Array
    obtained: Array
    entering: frozenset[str] = frozenset()
    """Tensors of the suspect that hold a model input, either as fed or after its Q/DQ pair."""

    def ours(self) -> list[onnx.NodeProto]:
        """Return the region's nodes in the suspect, except the types in ``NOT_COMPUTING`` (casts, constants, …)."""
        nodes = [self.suspect.nodes[number] for number in self.region.nodes]
        return [node for node in nodes if node.op_type not in NOT_COMPUTING]

    def theirs(self) -> list[onnx.NodeProto]:
        """Return the region's nodes in the reference, except the types in ``NOT_COMPUTING`` (casts, constants, …)."""
        nodes = [self.reference.nodes[number] for number in self.region.origin]
        return [node for node in nodes if node.op_type not in NOT_COMPUTING]
