"""Derives the likely cause of an error from the values alone, if no difference of the graphs explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.diagnose.diagnosis import Cause

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.diagnose.place import Place

    Array = npt.NDArray[Any]

FITS = 0.05
"""Largest share of an error's RMS that a pattern may leave unexplained and still count as its cause."""

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
TF32_LOW, TF32_HIGH = 2e-5, 5e-3
"""Range of relative errors in which an FP32 product looks like TF32, with a mantissa of 10 bits."""

LEAST = 4
"""Fewest elements, in total and for each index along an axis, from which a pattern is derived."""


def cause(place: Place) -> tuple[Cause, list[str]] | None:
    """Return the likely cause and its evidence, or ``None`` if the values at ``place`` fit no known pattern."""
    x, y = place.expected.astype(np.float64), place.obtained.astype(np.float64)
    if x.shape != y.shape:
        return Cause.AXIS, [f"the output has shape {list(y.shape)} instead of {list(x.shape)}"]
    if x.size < LEAST or not np.isfinite(y).all() or not np.isfinite(x).all():
        return None
    findings = (_reversed(x, y), _factor(x, y), _offset(x, y), _tf32(place, x, y))
    return next((finding for finding in findings if finding is not None), None)


def _unexplained(d: Array, explained: Array) -> float:
    """Return the RMS of ``d - explained`` as a share of the RMS of ``d``; 1.0 if ``d`` is all zeros."""
    total = float(np.sqrt((d**2).mean()))
    return float(np.sqrt(((d - explained) ** 2).mean())) / total if total else 1.0


def _reversed(x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    for axis in range(1, x.ndim):
        if x.shape[axis] > 1 and _unexplained(y - x, np.flip(x, axis) - x) < FITS:
            return Cause.CHANNELS, [f"the output is correct if its order along axis {axis} is reversed"]
    return None


def _factor(x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    power = float((x * x).sum())
    ratio = float((x * y).sum()) / power if power else 1.0
    if abs(ratio - 1) > FITS and _unexplained(y - x, (ratio - 1) * x) < FITS:
        return Cause.SCALE, [f"the output is {ratio:.4g} times the expected one"]
    return None


def _offset(x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    d = y - x
    for axis in {1, x.ndim - 1} if x.ndim > 1 else ():
        others = tuple(other for other in range(x.ndim) if other != axis)
        steady = d.mean(axis=others, keepdims=True)
        if x.size >= LEAST * x.shape[axis] and _unexplained(d, np.broadcast_to(steady, d.shape)) < FITS:
            return Cause.BIAS, [
                f"each index along axis {axis} has a constant offset, of up to {np.abs(steady).max():.4g}"
            ]
    return None


def _tf32(place: Place, x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    if place.precision != "fp32" or not any(node.op_type in PRODUCTS for node in place.theirs()):
        return None
    off = float(np.sqrt(((y - x) ** 2).mean()) / max(np.sqrt((x**2).mean()), 1e-30))
    if not TF32_LOW < off < TF32_HIGH:
        return None
    return Cause.TF32, [
        f"the relative error of the product is {off:.2g}: TF32 (10 bits of mantissa) gives about 3e-4, FP32 about 1e-7"
    ]
