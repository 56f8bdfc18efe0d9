"""Element types: which ones hil can feed and compare, which are floats, and how files hold those that numpy lacks.

Types that numpy lacks have the dtypes of ml_dtypes on the host. In files and on the wire they are record arrays, whose
only field has the type's name: ``[("bfloat16", "<u2")]``.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from hil.agent.protocol.arrays import dtype_of
from hil.agent.protocol.wire import BITS, ITEM_SIZES, name_of

Array = npt.NDArray[Any]
Limits = tuple[float, float]

FLOATS = frozenset(name for name in BITS if "float" in name)
"""The names of the floats that numpy lacks. Whether their dtypes have the kind of numpy's floats (``f``) depends on the
version of ml_dtypes."""

_VOID = np.dtype("V2")


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether elements are floating-point numbers, also of a type that numpy lacks."""
    return dtype.kind == "f" or dtype.name in FLOATS


def is_number(dtype: np.dtype[Any]) -> bool:
    """Return whether elements are numbers or booleans that hil can send to a target and compare."""
    return dtype.name in ITEM_SIZES


def limits(dtype: np.dtype[Any]) -> Limits:
    """Return the least and the greatest finite value of the type ``dtype``; 0 and 1 for booleans."""
    if dtype == np.bool_:
        return 0.0, 1.0
    found = (ml_dtypes.finfo if is_float(dtype) else ml_dtypes.iinfo)(dtype)
    return float(found.min), float(found.max)


def is_finite(array: Array) -> npt.NDArray[np.bool_]:
    """Return for each element whether it is neither NaN nor infinite; integers and booleans always are."""
    return np.asarray(np.isfinite(array)) if is_float(array.dtype) else np.ones(array.shape, bool)


def differences(ours: Array, theirs: Array) -> npt.NDArray[np.float64]:
    """Return ``|ours - theirs|`` of two arrays of one type and shape, without NaN.

    It is 0 where both are equal or NaN, infinite where only one is NaN, and not 0 where integers differ.
    """
    x, y = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart: npt.NDArray[np.float64] = np.asarray(np.abs(x - y))
    if is_float(ours.dtype):
        apart[np.isnan(apart)] = np.inf
        apart[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0
        return apart
    np.maximum(apart, ours != theirs, out=apart)  # beyond 2**53, different integers can be equal as float64
    return apart


def for_file(array: Array) -> Array:
    """Return the array as a file holds it: a view as a record array if numpy lacks its type, else the array itself."""
    return array.view(dtype_of(array.dtype.name)) if array.dtype.name in BITS else array


def named(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that ``from_file`` gives an array whose dtype in the file is ``dtype``.

    Two bytes of void (``V2``) become bfloat16.
    """
    name = "bfloat16" if dtype == _VOID else name_of(dtype)
    return np.dtype(name) if name in BITS else dtype


def from_file(array: Array) -> Array:
    """Return the array of a file or frame as a view with its element type, such as bfloat16, instead of raw bits.

    Other arrays are returned unchanged.
    """
    dtype = named(array.dtype)
    return array if dtype is array.dtype else array.view(dtype)


def how_to_save(name: str) -> str:
    """Return the advice, for the end of a message, on how to save an array with elements of the type ``name``."""
    as_bits = f".view([('{name}', '{BITS[name]}')]) after import ml_dtypes" if name in BITS else ""
    return f"save it with .astype('{name}'){as_bits}"
