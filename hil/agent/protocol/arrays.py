"""Conversion between numpy arrays and the bodies of frames, without a copy if the memory layout allows it.

A type that numpy lacks is a record whose only field has the type's name and the element's bits: ``[("bfloat16",
"<u2")]``.
"""

from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from .wire import BITS, ITEM_SIZES, Header, Slot, WireError, aligned, name_of

Named = List[Tuple[str, Any]]


def dtype_of(name: str) -> Any:
    """Return the little-endian numpy dtype of the arrays whose elements have type ``name``."""
    return np.dtype([(name, BITS[name])]) if name in BITS else np.dtype(name).newbyteorder("<")


def describe(named: Iterable[Tuple[str, Any]]) -> Tuple[List[Header], List[Any]]:
    """Return the header's ``arrays`` list and the body's chunks for ``[(name, array)]``.

    Contiguous little-endian arrays are not copied. Raise ``WireError`` for strings, objects and complex numbers.
    """
    listing: List[Header] = []
    chunks: List[Any] = []
    for name, value in named:
        array = np.asarray(value)
        dtype = name_of(array.dtype)
        if dtype not in ITEM_SIZES:
            raise WireError("array %r has the unsupported dtype %s" % (name, array.dtype))
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        listing.append({"name": name, "dtype": dtype, "shape": list(array.shape), "nbytes": int(array.nbytes)})
        chunks.append(array.reshape(-1).view(np.uint8).data)
        chunks.append(bytes(aligned(array.nbytes) - array.nbytes))
    return listing, chunks


def views(buffer: Any, slots: Sequence[Slot]) -> Named:
    """Return ``[(name, array)]`` for ``slots``: views of ``buffer`` (the body), without a copy."""
    named = []
    for slot in slots:
        dtype = dtype_of(slot.dtype)
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
