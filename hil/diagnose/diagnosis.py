"""What a diagnosis is: nodes that were looked at, those that are at fault, and the evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any


class Cause(str, Enum):
    """The likely class of a fault."""

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
    """A node of the reference as a person finds it: ``position`` counts from 1, of ``of`` nodes."""

    name: str
    op: str
    position: int
    of: int

    def __str__(self) -> str:
        """``'conv2' (Conv, node 3 of 10)``."""
        return f"{self.name!r} ({self.op}, node {self.position} of {self.of})"


@dataclass(frozen=True)
class Seen:
    """One tensor, looked at by both routes.

    ``alone`` is the error of its nodes run by themselves on the reference's values, ``bound`` what a healthy engine
    of the precision may show there, ``whole`` the error in the whole engine with intermediates marked.
    """

    tensor: str
    node: Node
    alone: float
    bound: float
    whole: float

    @property
    def ratio(self) -> float:
        """How many times the bound the nodes are off by themselves; more than 1 is at fault."""
        return self.alone / self.bound


@dataclass(frozen=True)
class Culprit:
    """A node that introduces an error, and what speaks for it.

    ``suspect_nodes`` are the engine's own nodes that stand for it. ``effect`` is the error that it alone
    makes of the reference's outputs. ``before`` and ``after`` are the errors of the
    model's outputs as the engine is, and with this one tensor put right.
    """

    seen: Seen
    cause: Cause
    evidence: tuple[str, ...]
    suspect_nodes: tuple[str, ...]
    reference: dict[str, Any]
    engine: dict[str, Any]
    effect: float | None = None
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Part:
    """What replays a fault: graphs of the nodes at fault, fed with the reference's values.

    ``model`` is the engine's graph of them and ``reference`` the original's (``None`` for a Q/DQ pair, which the
    original has not). Arrays by tensor; ``expected`` and ``obtained`` under the outputs' names of ``model``.
    """

    model: Any
    reference: Any
    feeds: dict[str, Any]
    expected: dict[str, Any]
    obtained: dict[str, Any]


@dataclass(frozen=True)
class Diagnosis:
    """What was found. ``culprits`` is empty where no node is to blame, worst first where one is.

    ``outputs`` are the errors of the model's outputs in the engine as it is, ``marked`` those with intermediates
    marked. ``grown`` are the tensors with the largest local errors. ``notes`` say what was not looked into.
    ``part`` is the worst culprit taken out, for a bundle.
    """

    precision: str
    samples: int
    nodes: int
    looked_at: int
    outputs: dict[str, float]
    marked: dict[str, float]
    culprits: tuple[Culprit, ...] = ()
    first: Seen | None = None
    grown: tuple[Seen, ...] = ()
    notes: tuple[str, ...] = ()
    part: Part | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON without the models of ``part``; infinite errors are the word ``"inf"``."""
        plain: dict[str, Any] = _plain(asdict(replace(self, part=None)))
        del plain["part"]
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124 - NaN
        return str(value)
    return value
