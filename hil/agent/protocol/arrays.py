"""numpy arrays to and from the bodies of frames, without copying where memory allows."""

from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from .wire import ITEM_SIZES, Header, Slot, WireError, aligned

Named = List[Tuple[str, Any]]


def describe(named: Iterable[Tuple[str, Any]]) -> Tuple[List[Header], List[Any]]:
    """The ``arrays`` listing and the body's chunks of ``[(name, array)]``; contiguous arrays are not copied.

    Raises ``WireError`` for a dtype that is not carried (strings, objects, complex).
    """
    listing: List[Header] = []
    chunks: List[Any] = []
    for name, value in named:
        array = np.asarray(value)
        if array.dtype.name not in ITEM_SIZES:
            raise WireError("array %r has dtype %s, which is not carried" % (name, array.dtype))
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        listing.append(
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "nbytes": int(array.nbytes)}
        )
        chunks.append(array.reshape(-1).view(np.uint8).data)
        chunks.append(bytes(aligned(array.nbytes) - array.nbytes))
    return listing, chunks


def views(buffer: Any, found: Sequence[Slot]) -> Named:
    """Arrays over ``buffer`` (the body), sharing its memory; an empty array owns its own."""
    made = []
    for slot in found:
        dtype = np.dtype(slot.dtype).newbyteorder("<")
        if slot.nbytes == 0:
            array = np.empty(slot.shape, dtype)
        else:
            count = slot.nbytes // dtype.itemsize
            array = np.frombuffer(buffer, dtype, count, slot.offset).reshape(slot.shape)
        made.append((slot.name, array))
    return made


def split_feeds(named: Named, count: int) -> List[Dict[str, Any]]:
    """``count`` feeds out of one list of arrays, each with the same number of them, in order."""
    if type(count) is not int or count < 1 or len(named) % count:
        raise WireError("%d arrays do not make %r feeds" % (len(named), count))
    width = len(named) // count
    return [dict(named[at * width : (at + 1) * width]) for at in range(count)]
