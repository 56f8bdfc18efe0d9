"""Write arrays to a stream one after the other, as ``.npy`` records, and read them back."""

from __future__ import annotations

import math
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.lib import format as npy

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

START = 10
"""Bytes before the text of a header: magic, version and, as the last two, the length of the text."""


class Stream(Protocol):
    """What records are written to or read from."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102 - as of a file
    def write(self, data: bytes, /) -> int: ...  # noqa: D102 - as of a file


def write(stream: Stream, array: Array) -> None:
    """Write ``array``, in C order."""
    stream.write(_header(array.dtype, array.shape))
    stream.write(array.tobytes())


def read(stream: Stream) -> Array:
    """Return the next array, which is writable.

    Raise ``ValueError`` if the stream does not continue with a whole record that ``write`` made.
    """
    start = stream.read(START)
    dtype, shape = _parsed(start + stream.read(int.from_bytes(start[-2:], "little")))
    # A bytearray makes the array writable, like any other numpy array.
    return np.frombuffer(bytearray(stream.read(dtype.itemsize * math.prod(shape))), dtype).reshape(shape)


@lru_cache(maxsize=64)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    stream = BytesIO()
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(stream, fields)
    return stream.getvalue()


@lru_cache(maxsize=64)
def _parsed(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and shape that ``header`` states. Raise ``ValueError`` if it is not a header of ``_header``."""
    stream = BytesIO(header)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("not the header of a record")
    shape, _, dtype = npy.read_array_header_1_0(stream)
    if dtype.hasobject or header != _header(dtype, shape):
        raise ValueError("not the header of a record")
    return dtype, shape
