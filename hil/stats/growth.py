"""Computes whether and how fast an error grows from step to step, with a confidence interval over several sequences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hil.stats.means import independent_mean
from hil.stats.vectors import FloatArray, vector

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = 24
"""Points on which a curve is fitted; their steps are in geometric progression."""

FEWEST = 6
"""Fewest points with an error that a curve needs to have a rate."""

BOUNDED = 0.25
"""Largest power of the step with which a bounded error may seem to grow, since it settles after some steps."""

FAST = 1.0
"""Mean power above which an error grows, whatever its interval: few sequences may differ in their rates."""

TRANSIENT = 0.05
"""The share of the steps that is left out at the beginning, where every error still grows."""


@dataclass(frozen=True)
class Growth:
    """How the error depends on the step.

    Attributes:
        kind: ``bounded``; ``linear`` (a power of the step, as of an error that adds up); ``exponential``; ``unknown``
            if too few sequences have an error.
        rate: the mean power of the step, or for ``exponential`` the mean rate per step.
        low, high: the interval of the mean rate over the sequences, each bound one-sided.
    """

    kind: str
    rate: float
    low: float
    high: float

    def steps_until(self, limit: float, error: float, horizon: float) -> float:
        """Return the step at which the error, which is ``error`` at step ``horizon``, reaches ``limit``.

        Return ``horizon`` if it has reached the limit already, and infinity if it never does.
        """
        if error >= limit:
            return horizon
        if self.kind not in {"linear", "exponential"} or error <= 0 or self.rate <= 0:
            return math.inf
        ratio = math.log(limit / error)
        if self.kind == "exponential":
            return horizon + ratio / self.rate
        return horizon * math.exp(min(ratio / self.rate, 700.0))


def growth(
    errors: Sequence[FloatArray], confidence: float, worth: int | None = None, lengths: Sequence[int] | None = None
) -> Growth:
    """Return how the errors grow; ``errors`` has a vector for each sequence, with the error of each step, at least 0.

    ``lengths`` are the numbers of steps, if the vectors have fewer points. ``worth`` is the number of distinct
    sequences, ``None`` if all are. The interval is over sequences, since their steps are not independent.
    """
    counts = [len(one) for one in errors] if lengths is None else lengths
    found = (_curve(vector(one, "errors"), count) for one, count in zip(errors, counts, strict=True))
    curves = [curve for curve in found if curve is not None]
    if len(curves) < 2:
        return Growth("unknown", 0.0, -math.inf, math.inf)
    powers = [_slope(np.log(steps), levels) for steps, levels in curves]
    mean, low, high = independent_mean(powers, confidence, worth)
    if low <= BOUNDED and mean <= FAST:
        return Growth("bounded", mean, low, high)
    by_power = sum(_residual(np.log(steps), levels) for steps, levels in curves)
    by_rate = sum(_residual(steps, levels) for steps, levels in curves)
    if by_rate >= by_power:
        return Growth("linear", mean, low, high)
    return Growth("exponential", *independent_mean([_slope(*curve) for curve in curves], confidence, worth))


def _curve(errors: FloatArray, length: int) -> tuple[FloatArray, FloatArray] | None:
    """Return steps and the logarithm of the root mean square error around each; ``None`` if there are too few."""
    count = errors.size
    first = max(1, int(count * TRANSIENT))
    edges = np.unique(np.geomspace(first, max(count, first + 1), BLOCKS + 1).astype(np.int64))
    steps, levels = [], []
    for start, end in pairwise(edges):
        level = float(np.sqrt(np.square(errors[start:end]).mean())) if end <= count else 0.0
        if level > 0:
            steps.append((start + end + 1) / 2 * length / count)
            levels.append(math.log(level))
    return (np.asarray(steps), np.asarray(levels)) if len(steps) >= FEWEST else None


def _slope(x: FloatArray, y: FloatArray) -> float:
    centred = x - x.mean()
    return float((centred * (y - y.mean())).sum() / np.square(centred).sum())


def _residual(x: FloatArray, y: FloatArray) -> float:
    return float(np.square(y - y.mean() - _slope(x, y) * (x - x.mean())).sum())
