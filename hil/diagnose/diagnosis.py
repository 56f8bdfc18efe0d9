"""Defines the records of a diagnosis: the nodes examined, the nodes at fault, and the evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any


class Cause(str, Enum):
    """The likely cause of an error."""

    OVERFLOW = "overflow in FP16"
    SATURATED = "saturated scale"
    COARSE = "scale too coarse"
    AXIS = "wrong axis"
    EPSILON = "epsilon"
    TF32 = "TF32"
    CHANNELS = "channel order"
    SCALE = "scale"
    WEIGHTS = "weights differ"
    BIAS = "bias missing"
    PREPROCESSING = "preprocessing"
    ATTRIBUTE = "attribute"
    FUSION = "fused by the runtime"
    NOT_FINITE = "not finite"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Node:
    """A node of the reference: number ``position``, counted from 1, of the model's ``of`` nodes.

    An input of the model has position 0.
    """

    name: str
    op: str
    position: int
    of: int

    def __str__(self) -> str:
        """Return text such as ``'conv2' (Conv, node 3 of 10)``."""
        return f"{self.name!r} ({self.op}, node {self.position} of {self.of})"


@dataclass(frozen=True)
class Step:
    """A step of a model with a state: its number, and that of its sequence, both counted from 0."""

    sequence: int
    step: int

    def __str__(self) -> str:
        """Return text such as ``step 37 of sequence 2``."""
        return f"step {self.step} of sequence {self.sequence}"


@dataclass(frozen=True)
class NodeErrors:
    """The relative errors of one tensor of the engine, measured in two ways.

    Attributes:
        tensor: the tensor's name in the reference.
        node: the node that makes it.
        alone: the error if the nodes that compute the tensor run alone, on the reference's values.
        bound: the largest value of ``alone`` for a correct engine in this precision.
        whole: the error in the whole engine, with the intermediate tensors as outputs.
    """

    tensor: str
    node: Node
    alone: float
    bound: float
    whole: float

    @property
    def ratio(self) -> float:
        """Return ``alone`` as a multiple of ``bound``; above 1, the nodes are less accurate than they should be."""
        return self.alone / self.bound


@dataclass(frozen=True)
class Culprit:
    """A node that introduces an error, with the evidence.

    Attributes:
        seen: the node, and the errors of its tensor.
        cause: the likely cause.
        evidence: the evidence for the cause, in sentences.
        suspect_nodes: the names of the corresponding nodes of the engine's graph.
        reference: statistics of the tensor in the reference.
        engine: statistics of the tensor in the engine.
        effect: the error of the reference's outputs if only this tensor has the engine's values; ``None``: not
            measured.
        before: the error of the engine's outputs; ``None``: not measured.
        after: the error of the engine's outputs with only this tensor corrected; ``None``: not measured.
    """

    seen: NodeErrors
    cause: Cause
    evidence: tuple[str, ...]
    suspect_nodes: tuple[str, ...]
    reference: dict[str, Any]
    engine: dict[str, Any]
    effect: float | None = None
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class SignalEnd:
    """The first node after which the engine's values are constant where the reference's vary.

    Attributes:
        tensor: the node's tensor.
        node: the node.
        suspect_nodes: the names of the corresponding nodes of the engine's graph.
        constant: how many slices of the tensor are constant in the engine.
        live: how many of its slices vary in the reference.
        value: the value that all constant slices have; ``None`` if they differ.
        reference: the largest standard deviation of a slice in the reference.
    """

    tensor: str
    node: Node
    suspect_nodes: tuple[str, ...]
    constant: int
    live: int
    value: float | None
    reference: float


@dataclass(frozen=True)
class Part:
    """The nodes at fault as models of their own, with the arrays that reproduce the error, by tensor.

    Attributes:
        model: the nodes of the engine's graph.
        reference: the nodes of the original model; ``None`` for a Q/DQ pair, which the model does not have.
        feeds: the reference's values of the inputs.
        expected: the reference's output of ``model``.
        obtained: the engine's output of ``model``.
    """

    model: Any
    reference: Any
    feeds: dict[str, Any]
    expected: dict[str, Any]
    obtained: dict[str, Any]


@dataclass(frozen=True)
class Diagnosis:
    """The result of a diagnosis. ``culprits`` are the nodes at fault; empty if there are none.

    They are listed worst first, but an INT8 range after a node whose constants differ is listed after that node.

    Attributes:
        precision: the engine's precision.
        samples: the number of samples that were examined.
        nodes: the number of the reference's nodes.
        looked_at: the number of examined tensors.
        outputs: the errors of the model's outputs in the unmodified engine.
        marked: the errors of the same outputs if intermediate tensors are outputs too.
        culprits: the nodes at fault.
        first: the first tensor whose error in the whole engine exceeds its bound; ``None`` without one.
        grown: the tensors with the largest ``ratio``.
        signal_end: where the signal ends if slices of the engine's outputs are constant; ``None``: it was not found.
        notes: what was not examined.
        step: of a model with a state, the step that was examined with the reference's state before it; else ``None``.
        part: the nodes of the worst culprit, for a bundle; ``None`` if there is nothing to extract.
    """

    precision: str
    samples: int
    nodes: int
    looked_at: int
    outputs: dict[str, float]
    marked: dict[str, float]
    culprits: tuple[Culprit, ...] = ()
    first: NodeErrors | None = None
    grown: tuple[NodeErrors, ...] = ()
    signal_end: SignalEnd | None = None
    notes: tuple[str, ...] = ()
    step: Step | None = None
    part: Part | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON types, without ``part``; infinite and NaN errors become text (``"inf"``)."""
        plain: dict[str, Any] = _plain(asdict(replace(self, part=None)))
        del plain["part"]
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124 - NaN
        return str(value)
    return value
