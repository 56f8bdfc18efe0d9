"""Replays single steps of a recurrent model on the reference, beginning with the state that the engine had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = Mapping[str, np.ndarray[Any, Any]]
    Step = Callable[[Arrays], Arrays]

FLOOR = 0.02
"""A step in FP32 is wrong if its error in the replay exceeds this value, in standard deviations of an output."""


@dataclass(frozen=True)
class Trace:
    """One batch of sequences that an engine has run with its own state.

    Attributes:
        step: runs one step of the reference: all inputs by name to all outputs by name.
        steps: the inputs that are not carried, ``[steps, *shape]``.
        begin: the states with which the sequences begin.
        carry: the output that feeds each carried input.
        outputs: the engine's outputs, ``[steps, *shape]``, among them all that ``carry`` names.
        before: the engine's last outputs of the batch before; empty for the first batch.
        floor: a step whose error in the replay exceeds this value, in standard deviations of an output, is wrong.
        axes: the axis of each state along which sequences are stacked; ``None`` for a state without such an axis.
    """

    step: Step
    steps: Arrays
    begin: Arrays
    carry: Mapping[str, str]
    outputs: Arrays
    before: Arrays
    floor: float = FLOOR
    axes: Mapping[str, int | None] = field(default_factory=dict)

    def own(self, step: int) -> dict[str, Any]:
        """Return the states that ``step`` should begin with, from the engine's own outputs."""
        if step <= 0:
            return dict(self.begin)
        return {name: self.outputs[source][step - 1, ...] for name, source in self.carry.items()}

    def inputs(self, step: int) -> dict[str, Any]:
        """Return the inputs of one step, without states."""
        return {name: array[max(step, 0), ...] for name, array in self.steps.items()}


def apart(one: Any, other: Any) -> float:
    """Return the largest difference of two arrays of numbers or booleans; infinite if their shapes differ."""
    if one.shape != other.shape:  # as of an output whose shape depends on values
        return float("inf")
    return float(np.abs(np.subtract(one, other, dtype=np.float64)).max(initial=0.0))


def alike(one: Any, other: Any) -> bool:
    """Return whether two arrays have the same type and shape, so that one can be fed in place of the other."""
    return (one.dtype, one.shape) == (other.dtype, other.shape)


class Replay:
    """The errors of replayed steps, in standard deviations of each output over all steps up to the replayed one."""

    def __init__(self, trace: Trace, count: int) -> None:
        self.trace = trace
        self.spreads: dict[str, Any] = {}
        for name, array in ((name, array) for name, array in trace.outputs.items() if array.size):
            flat = array[:count].reshape(count, -1).astype(np.float64)
            number = np.arange(1, count + 1)
            mean = np.cumsum(flat.mean(axis=1)) / number
            square = np.cumsum(np.square(flat).mean(axis=1)) / number
            self.spreads[name] = np.sqrt(np.maximum(square - np.square(mean), 0))

    def error(self, step: int, feed: Arrays, names: Mapping[str, str] | None = None) -> float:
        """Run the reference on ``feed`` and return the largest error against the engine's outputs of ``step``.

        Outputs that do not vary are left out. ``names`` maps an engine's output to the reference's output that is
        compared with it, if that has another name.
        """
        return max(self._errors(step, self.trace.step(feed), names or {}).values(), default=0.0)

    def made(self, step: int) -> Arrays:
        """Return the reference's outputs for a step that begins with the engine's own state."""
        return self.trace.step({**self.trace.inputs(step), **self.trace.own(step)})

    def by_output(self, step: int) -> dict[str, float]:
        """Return the error of each output if the step begins with the engine's own state."""
        return self._errors(step, self.made(step), {})

    def _errors(self, step: int, made: Arrays, names: Mapping[str, str]) -> dict[str, float]:
        found = {}
        for name, spread in self.spreads.items():
            error = apart(made[names.get(name, name)], self.trace.outputs[name][step])
            if spread[step] > 0:
                found[name] = error / float(spread[step]) if np.isfinite(error) else np.inf
        return found
