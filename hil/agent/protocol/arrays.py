"""Conversion between numpy arrays and the bodies of frames, without a copy if the memory layout allows it."""

from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from .wire import ITEM_SIZES, Header, Slot, WireError, aligned

Named = List[Tuple[str, Any]]


def describe(named: Iterable[Tuple[str, Any]]) -> Tuple[List[Header], List[Any]]:
    """Return the header's ``arrays`` list and the body's chunks for ``[(name, array)]``.

    Contiguous little-endian arrays are not copied. Raise ``WireError`` for an unsupported dtype (strings, objects,
    complex).
    """
    listing: List[Header] = []
    chunks: List[Any] = []
    for name, value in named:
        array = np.asarray(value)
        if array.dtype.name not in ITEM_SIZES:
            raise WireError("array %r has the unsupported dtype %s" % (name, array.dtype))
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        listing.append(
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "nbytes": int(array.nbytes)}
        )
        chunks.append(array.reshape(-1).view(np.uint8).data)
        chunks.append(bytes(aligned(array.nbytes) - array.nbytes))
    return listing, chunks


def views(buffer: Any, slots: Sequence[Slot]) -> Named:
    """Return ``[(name, array)]`` for ``slots``: views of ``buffer`` (the body), without a copy."""
    named = []
    for slot in slots:
        dtype = np.dtype(slot.dtype).newbyteorder("<")
        if slot.nbytes == 0:
            array = np.empty(slot.shape, dtype)
        else:
            count = slot.nbytes // dtype.itemsize
            array = np.frombuffer(buffer, dtype, count, slot.offset).reshape(slot.shape)
        named.append((slot.name, array))
    return named


def split_feeds(named: Named, count: int) -> List[Dict[str, Any]]:
    """Split ``[(name, array)]``, in order, into ``count`` feeds with equal numbers of arrays.

    Raise ``WireError`` if the arrays cannot be split evenly.
    """
    if type(count) is not int or count < 1 or len(named) % count:
        raise WireError("%d arrays cannot be split into %r equal feeds" % (len(named), count))
    width = len(named) // count
    return [dict(named[at * width : (at + 1) * width]) for at in range(count)]
