"""Defines what a comparison of answers returns, and the interface that every kind of answer implements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.config.spec import OutputSpec
    from hil.metrics.metric import Array, Arrays, FloatArray


@dataclass(frozen=True)
class Evidence:
    """How far the answers of a reference and of an engine differ, over all samples.

    Attributes:
        changed: for each counted sample, the share of its answer that differs, from 0 to 1.
        samples: the indices (from 0) of the counted samples, in the order of ``changed``.
        total: how many samples were compared, counted or not. A sample to which neither side gives an answer is not
            counted.
        silent: to how many samples the reference gives no answer.
        nothing: how a message describes that there is no answer, such as "detects nothing".
        constant: the smallest mean of ``changed`` that an engine with one fixed answer would have; 1 if not computed.
        drift: for each answer that both sides give, the engine's score minus the reference's; ``None`` without scores.
        scores: the reference's score of each of these answers, in the order of ``drift``.
        moved: the change of each box that both sides give, over its size, shape (n, 4): of its centre along x and y,
            of its width and of its height; ``None`` without boxes.
        f1: the F1 of the engine's answers at the threshold, with the reference's as the truth; ``None`` without scores.
        part: the lost class, component or point, if ``changed`` has only its answers; empty if it has all answers.
    """

    changed: FloatArray
    samples: Array
    total: int
    silent: int = 0
    nothing: str = "gives no answer"
    constant: float = 1.0
    drift: FloatArray | None = None
    scores: FloatArray | None = None
    f1: float | None = None
    moved: FloatArray | None = None
    part: str = ""


class Answers(Protocol):
    """Compares the answers of two sides, batch by batch, for the outputs that are read together."""

    @property
    def kind(self) -> str:
        """The kind of the answers, as written in the config."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that the answers are read from."""

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch. Raises ``UserError`` if they do not fit the declared kind."""

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""


@dataclass
class Changes:
    """Collects ``Evidence.changed``, batch by batch; NaN marks a sample to which neither side gives an answer."""

    parts: list[FloatArray] = field(default_factory=list)
    total: int = 0
    silent: int = 0

    def add(self, changed: FloatArray, silent: int = 0) -> None:
        """Add the changes of a batch, of which ``silent`` samples have no answer of the reference."""
        self.parts.append(np.asarray(changed, dtype=np.float64))
        self.total += len(changed)
        self.silent += silent

    def counted(self) -> tuple[FloatArray, Array]:
        """Return the changes of the counted samples, and the indices (from 0) of these samples."""
        everything = np.concatenate([np.zeros(0), *self.parts])
        (samples,) = np.nonzero(~np.isnan(everything))
        return everything[samples], samples


def joined(parts: Iterable[FloatArray]) -> FloatArray:
    """Return the concatenation of ``parts``; an empty array without parts."""
    return np.concatenate([np.zeros(0), *parts])


def samples_first(name: str, kind: str, array: Array, samples: int) -> Array:
    """Return ``array``. Raises ``UserError`` if its first axis does not have the size ``samples``."""
    if array.ndim and len(array) == samples:
        return array
    raise UserError(
        f"output {name!r} has shape {list(array.shape)} for {samples} samples: kind {kind!r} needs samples along the "
        "first axis: remove the kind, or write 'decode' = a callable"
    )


def class_axis(name: str, spec: OutputSpec, rank: int, default: int) -> int:
    """Return the axis of the classes as a number from 1 to ``rank`` - 1.

    It is the axis that ``spec`` declares, else ``default``. Raises ``UserError`` for an axis that an array of this rank
    does not have, and for the first axis, which is that of the samples.
    """
    if rank < 2:
        raise UserError(
            f"output {name!r} has {rank} axes: kind {spec.kind!r} needs samples and classes: remove the kind"
        )
    axis = default if spec.axis is None else spec.axis
    if not -rank < axis < rank or axis % rank == 0:
        raise UserError(
            f"output {name!r} has {rank} axes, so axis {axis} cannot be that of kind {spec.kind!r}: "
            f"samples are along axis 0: write an axis from 1 to {rank - 1}"
        )
    return axis % rank
