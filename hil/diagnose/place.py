"""Where an error was found: a region of both graphs with what it should give and what it gives."""

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
    """A region that errs: both graphs, and what it should give and gives."""

    reference: Graph
    suspect: Graph
    region: Region
    precision: str
    expected: Array
    obtained: Array
    entering: frozenset[str] = frozenset()
    """Tensors of the suspect that are an input of the model, as fed or after its own Q and DQ."""

    def ours(self) -> list[onnx.NodeProto]:
        """The suspect's nodes that compute."""
        nodes = [self.suspect.nodes[number] for number in self.region.nodes]
        return [node for node in nodes if node.op_type not in NOT_COMPUTING]

    def theirs(self) -> list[onnx.NodeProto]:
        """The reference's nodes that compute."""
        nodes = [self.reference.nodes[number] for number in self.region.origin]
        return [node for node in nodes if node.op_type not in NOT_COMPUTING]
