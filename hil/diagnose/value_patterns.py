"""What the values of a node alone say of its error, where the graphs say nothing: kernels of somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.diagnose.diagnosis import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from hil.diagnose.place import Place

    Array = npt.NDArray[Any]

FITS = 0.05
"""Most that may be left of an error, by its RMS, for a simple rule to have explained it."""

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
TF32_LOW, TF32_HIGH = 2e-5, 5e-3
"""Relative errors between which an FP32 product looks like one of 10 bits of mantissa."""

LEAST = 4


def cause(place: Place, taken: Mapping[str, Array]) -> tuple[Cause, list[str]] | None:  # noqa: ARG001 - for what needs them
    """A cause with its evidence, or ``None`` where no simple rule fits."""
    x, y = place.expected.astype(np.float64), place.obtained.astype(np.float64)
    if x.shape != y.shape:
        return Cause.AXIS, [f"it gives shape {list(y.shape)} instead of {list(x.shape)}"]
    if x.size < LEAST or not np.isfinite(y).all() or not np.isfinite(x).all():
        return None
    for found in (_turned(x, y), _factor(x, y), _offset(x, y), _tf32(place, x, y)):
        if found is not None:
            return found
    return None


def _left(d: Array, explained: Array) -> float:
    total = float(np.sqrt((d**2).mean()))
    return float(np.sqrt(((d - explained) ** 2).mean())) / total if total else 1.0


def _turned(x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    for axis in range(1, x.ndim):
        if x.shape[axis] > 1 and _left(y - x, np.flip(x, axis) - x) < FITS:
            return Cause.CHANNELS, [f"what it gives is right in the reverse order along axis {axis}"]
    return None


def _factor(x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    power = float((x * x).sum())
    ratio = float((x * y).sum()) / power if power else 1.0
    if abs(ratio - 1) > FITS and _left(y - x, (ratio - 1) * x) < FITS:
        return Cause.SCALE, [f"what it gives is {ratio:.4g} times what it should be"]
    return None


def _offset(x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    d = y - x
    for axis in {1, x.ndim - 1} if x.ndim > 1 else ():
        others = tuple(one for one in range(x.ndim) if one != axis)
        steady = d.mean(axis=others, keepdims=True)
        if x.size >= LEAST * x.shape[axis] and _left(d, np.broadcast_to(steady, d.shape)) < FITS:
            return Cause.BIAS, [
                f"each index along axis {axis} is off by a constant, by up to {np.abs(steady).max():.4g}"
            ]
    return None


def _tf32(place: Place, x: Array, y: Array) -> tuple[Cause, list[str]] | None:
    if place.precision != "fp32" or not any(node.op_type in PRODUCTS for node in place.theirs()):
        return None
    off = float(np.sqrt(((y - x) ** 2).mean()) / max(np.sqrt((x**2).mean()), 1e-30))
    if not TF32_LOW < off < TF32_HIGH:
        return None
    return Cause.TF32, [
        f"a product that is off by {off:.2g} of its RMS: 10 bits of mantissa give about 3e-4, FP32 1e-7"
    ]
