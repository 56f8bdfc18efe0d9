"""Tells masks and scores from other values.

Masks are constants such as -1e9 in the place of scores that must not count. Beside them, everything else is less than
rounding: they must not be the scale of an error.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

MASK = 1e4
"""The smallest magnitude of a mask."""

FAR = 100.0
"""A mask is at least this multiple of all magnitudes below ``MASK``."""

EQUAL = 0.01
"""The relative difference up to which two sides have the same mask."""

BEYOND = 1e-3
"""By how much a score may be below 0 or above 1: a step of FP16 at 1, where a sigmoid or a softmax is rounded."""


def masks(values: Array, others: float = 0.0) -> BoolArray | None:
    """Return which of the finite ``values`` are a mask; ``None`` if none is.

    ``others`` is the largest magnitude below ``MASK`` that was observed elsewhere in the same tensor.
    """
    if not values.size or max(float(values.max()), -float(values.min())) < MASK:
        return None
    size = np.abs(values)
    large = size >= MASK
    others = max(others, float(size.max(initial=0.0, where=~large)))
    return large if others and float(size.min(initial=math.inf, where=large)) >= FAR * others else None


def same_masks(expected: Array, obtained: Array, others: float = 0.0) -> BoolArray | None:
    """Return which elements are the same mask in both finite arrays, of which ``expected`` has the masks.

    ``None`` if no element is. ``others`` is that of ``masks``.
    """
    found = masks(expected, others)
    if found is None:
        return None
    found &= np.abs(np.subtract(expected, obtained, dtype=np.float64)) <= EQUAL * np.abs(expected)
    return found if found.any() else None


def largest_unmasked(values: Array, others: float = 0.0) -> float:
    """Return the largest magnitude of the finite ``values`` that are no masks, but at least ``others``."""
    found = masks(values, others)
    rest = True if found is None else ~found
    return max(others, float(np.abs(values).max(initial=0.0, where=rest)))


def are_scores(low: npt.ArrayLike, high: npt.ArrayLike) -> BoolArray:
    """Return, elementwise, whether values between ``low`` and ``high`` are from 0 to 1; false for NaN."""
    return np.asarray((np.asarray(low) >= -BEYOND) & (np.asarray(high) <= 1 + BEYOND))
