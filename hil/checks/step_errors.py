"""Computes the error of each step of a sequence, relative to how much the reference varies in that sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.dtypes import is_float

if TYPE_CHECKING:
    from hil.checks.numbers import Array

    FloatArray = npt.NDArray[np.float64]

LIVELY = 0.1
"""An element's error is relative to its standard deviation, or to this share of the largest one if that is more."""

LAST = 0.1
"""The share of a sequence's steps, counted from its end, over which the error at the end is averaged."""

POINTS = 200
"""Most points of a stored curve."""


@dataclass
class StepErrors:
    """The errors of one output in all sequences in which the reference varies.

    Attributes:
        threshold: the error above which a step is beyond its tolerance.
        curves: for each of these sequences the root mean square error by step; a long curve is reduced to 200 points.
        lengths: for each of these sequences its number of steps.
        horizon: for each of these sequences the root mean square error over the last tenth of its steps.
        numbers: the number of each of these sequences.
        beyond: sequence and step of the first error over ``threshold``, in the first sequence that has one.
    """

    threshold: float
    curves: list[FloatArray] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    horizon: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    beyond: tuple[int, int] | None = None

    def add(self, number: int, reference: Array, candidate: Array) -> bool:
        """Add the sequence ``number``, arrays [steps, …] of one shape; return whether the reference varies in it."""
        errors = relative_errors(reference, candidate)
        if errors is None:
            return False
        last = max(1, math.ceil(LAST * errors.size))
        self.horizon.append(float(np.sqrt(np.square(errors[-last:]).mean())))
        self.curves.append(reduced(errors))
        self.lengths.append(errors.size)
        self.numbers.append(number)
        if self.beyond is None and bool((errors > self.threshold).any()):
            self.beyond = number, int((errors > self.threshold).argmax())
        return True

    def curve(self) -> list[list[float]]:
        """Return ``[step, mean error, largest error]`` at up to 200 steps, over the sequences that reach the step."""
        longest = max(self.lengths, default=0)
        rows = []
        for place in np.unique(np.linspace(0, max(longest - 1, 0), min(POINTS, max(longest, 1))).astype(np.int64)):
            reached = [
                float(curve[min(int(place * curve.size / length), curve.size - 1)])
                for curve, length in zip(self.curves, self.lengths, strict=True)
                if length > place
            ]
            if reached:
                rows.append([int(place), float(np.mean(reached)), max(reached)])
        return rows


def relative_errors(reference: Array, candidate: Array) -> FloatArray | None:
    """Return the root mean square error of each step, shape [steps].

    Errors are relative to the standard deviation of the element over the reference's steps. ``None`` if the elements
    are not floats, or if none of them varies. Elements that are not finite count as equal.
    """
    if not is_float(reference.dtype) or not reference.size:
        return None
    x, y = (array.reshape(len(array), -1).astype(np.float64) for array in (reference, candidate))
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(keep, x, 0.0), np.where(keep, y, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = x.std(axis=0)
        largest = float(deviation.max(initial=0.0))
        if not largest > 1e-7 * float(np.abs(x).max()):
            return None
        scaled = (x - y) / np.maximum(deviation, LIVELY * largest)
        return np.asarray(np.sqrt(np.square(scaled).mean(axis=1)), np.float64)


def reduced(errors: FloatArray) -> FloatArray:
    """Return ``errors`` or, if it has more than 200 points, the root mean square of each of 200 equal parts."""
    if errors.size <= POINTS:
        return errors
    return np.asarray([math.sqrt(float(np.square(part).mean())) for part in np.array_split(errors, POINTS)])


def first_not_finite(reference: Array, candidate: Array) -> int | None:
    """Return the first step in which the engine has NaN or infinity where the reference has none; ``None`` if never."""
    if not is_float(reference.dtype) or reference.shape != candidate.shape or not reference.size:
        return None
    ours, theirs = (array.reshape(len(array), -1).astype(np.float64) for array in (reference, candidate))
    odd: Any = (~np.isfinite(theirs) & np.isfinite(ours)).any(axis=1)
    return int(odd.argmax()) if odd.any() else None
