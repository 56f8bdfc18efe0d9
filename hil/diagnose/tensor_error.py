"""How far two tensors are apart, and what a tensor looks like: pure functions over arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

TINY = 1e-9
"""Where the reference is smaller than this throughout, errors are told as they are and not relative to it."""

MOST_CHANNELS = 65536
FP16_MAX = 65504.0


def error(expected: Array, obtained: Array) -> float:
    """How far ``obtained`` is from ``expected``, relative to the root mean square of ``expected``.

    The largest of the whole tensor's RMS error and that of each channel (along the second and the last axis), all by
    the whole tensor's RMS: a fault of one channel in 512 is not averaged away, and a channel that is all but zero
    does not blow up. Infinite where the shapes differ or a finite element became NaN or infinite. Integers and truth
    values: the share that differs.
    """
    if expected.shape != obtained.shape:
        return math.inf
    if not expected.size:
        return 0.0
    if expected.dtype.kind != "f":
        return float(np.mean(expected != obtained))
    x, y = expected.astype(np.float64), obtained.astype(np.float64)
    keep = np.isfinite(x)
    if not np.isfinite(y[keep]).all() or not np.array_equal(x[~keep], y[~keep], equal_nan=True):
        return math.inf
    x[~keep] = y[~keep] = 0.0
    squares = (y - x) ** 2
    worst = float(squares.mean())
    for axis in {1, x.ndim - 1} if x.ndim > 1 else ():
        if 1 < x.shape[axis] <= MOST_CHANNELS:
            others = tuple(one for one in range(x.ndim) if one != axis)
            worst = max(worst, float(squares.mean(axis=others).max()))
    scale = math.sqrt(float((x**2).mean()))
    return math.sqrt(worst) / (scale if scale > TINY else 1.0)


def statistics(array: Array) -> dict[str, Any]:
    """``min``, ``max``, ``mean``, ``rms`` of the finite elements; ``nan`` and ``inf`` are counts, ``shape`` a list."""
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
    """The largest finite magnitude; 0 of nothing."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def clipped(array: Array, step: float, low: int = -128, high: int = 127) -> float:
    """The share of ``array`` that a quantizer with this ``step`` and zero point 0 clips."""
    if step <= 0 or not math.isfinite(step):
        return 1.0
    return float(np.mean((array > (high + 0.5) * step) | (array < (low - 0.5) * step)))
