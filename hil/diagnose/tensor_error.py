"""Computes the relative error between two tensors, and statistics of a tensor: pure functions over arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.dtypes import is_float
from hil.stats.masks_and_scores import are_scores, same_masks

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

TINY = 1e-9
"""Below this RMS of the reference, errors are absolute and not relative."""

MOST_CHANNELS = 65536
FP16_MAX = 65504.0


def error(expected: Array, obtained: Array) -> float:
    """Return the error of ``obtained``: for floats relative to ``expected``, else the share of elements that differ.

    For floats, it is the largest root mean square (RMS) error of the whole tensor or of a channel, relative to the RMS
    of ``expected``, or of the channel if that is larger. It is infinite if the shapes differ, or if NaN and infinite
    elements are not at the same places in both. Masks that both have are left out.
    """
    if expected.shape != obtained.shape:
        return math.inf
    if not expected.size:
        return 0.0
    if not is_float(expected.dtype):
        return float(np.mean(expected != obtained))
    x, y = expected, obtained
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        finite = np.isfinite(x)
        if not np.isfinite(y[finite]).all() or not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return math.inf
        x, y = np.where(finite, x, 0), np.where(finite, y, 0)
    masked = same_masks(x, y)
    if masked is not None:
        x, y = np.where(masked, 0, x), np.where(masked, 0, y)
    powers = mean_squares(np.multiply(x, x, dtype=np.float64))
    errors = np.asarray(np.subtract(y, x, dtype=np.float64))
    errors *= errors
    return relative_error(errors, powers)


def mean_squares(squares: Array) -> list[Array]:
    """Return the mean of ``squares``, and that of each channel along the second and the last axis, in float64."""
    if squares.ndim > 3:
        squares = squares.reshape(*squares.shape[:2], -1, squares.shape[-1]).mean(axis=2)  # one pass for all means
    axes = {1, squares.ndim - 1} if squares.ndim > 1 else set()
    kept = [axis for axis in axes if 1 < squares.shape[axis] <= MOST_CHANNELS]
    others = [tuple(other for other in range(squares.ndim) if other != axis) for axis in kept]
    return [np.asarray(squares.mean()), *(squares.mean(axis=rest) for rest in others)]


def relative_error(squares: Array, powers: list[Array]) -> float:
    """Return what ``error`` returns for floats, from the squared differences and the reference's mean squares.

    ``squares`` has the shape of the tensor, ``powers`` is ``mean_squares`` of the reference's squares.
    """
    # A fault in one channel of 512 is not averaged away, and a channel close to zero gets no huge relative error; nor
    # does the only class with a probability among thousands, whose own RMS is a hundred times that of the tensor.
    whole = float(powers[0])
    absolute = math.sqrt(whole) <= TINY
    pairs = zip(mean_squares(squares), powers, strict=True)
    return math.sqrt(max(float((off / (1.0 if absolute else np.maximum(own, whole))).max()) for off, own in pairs))


def slice_error(expected: Array, obtained: Array, least: float = 0.01) -> float:
    """Return the largest error of a slice (index along the second axis) relative to that slice's own deviation.

    The deviation counts as at least ``least`` times the largest deviation of any slice, except for slices of scores
    (all values from 0 to 1, the largest at least 0.25). Return ``error`` if slices cannot be compared: for fewer than
    two axes, more than ``MOST_CHANNELS`` slices, a type that is not float, an infinite error, or no variation.
    """
    whole = error(expected, obtained)
    if not math.isfinite(whole) or not is_float(expected.dtype):
        return whole
    if expected.ndim < 2 or expected.shape[1] > MOST_CHANNELS:
        return whole
    others = tuple(axis for axis in range(expected.ndim) if axis != 1)
    x, y = np.array(expected, np.float64), np.array(obtained, np.float64)
    finite = np.isfinite(x)
    x[~finite] = y[~finite] = 0.0
    masked = same_masks(x, y)
    if masked is not None:
        x[masked] = y[masked] = 0.0
    rms, spread = np.sqrt(((y - x) ** 2).mean(axis=others)), x.std(axis=others)
    if not spread.size or not spread.max() > TINY:
        return whole
    top = x.max(axis=others)
    scores = are_scores(x.min(axis=others), top) & (top >= 0.25)
    floor = np.where(scores, TINY, max(least * float(spread.max()), TINY))
    return float((rms / np.maximum(spread, floor)).max())


def statistics(array: Array) -> dict[str, Any]:
    """Return ``shape`` (a list), ``dtype``, the counts ``nan`` and ``inf``, and ``min``, ``max``, ``mean``, ``rms``.

    The last four are taken over the finite elements, and are ``None`` if there are none.
    """
    x = array.astype(np.float64)
    finite = x[np.isfinite(x)]
    facts: dict[str, Any] = {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "nan": int(np.isnan(x).sum()),
        "inf": int(np.isinf(x).sum()),
    }
    if not finite.size:
        return {**facts, "min": None, "max": None, "mean": None, "rms": None}
    rms = float(np.sqrt((finite**2).mean()))
    return {**facts, "min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean()), "rms": rms}


def largest(array: Array) -> float:
    """Return the largest finite magnitude; 0 if no element is finite."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def clipped(array: Array, step: float, low: int = -128, high: int = 127) -> float:
    """Return the share of elements that a quantizer to integers from ``low`` to ``high`` clips, with this ``step``.

    The zero point is 0. The share is 1.0 if ``step`` is not positive and finite.
    """
    if step <= 0 or not math.isfinite(step):
        return 1.0
    return float(np.mean((array > (high + 0.5) * step) | (array < (low - 0.5) * step)))
