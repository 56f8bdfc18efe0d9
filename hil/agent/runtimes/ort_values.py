"""Runs ONNX Runtime sessions whose inputs or outputs have types that numpy lacks, such as bfloat16.

ONNX Runtime (1.20 or later) passes them as ``OrtValue``: the type's number and the raw bits.
"""

import ctypes
from typing import Any, Dict, List, Mapping, Tuple

from ..failure import ENGINE, Failure
from ..protocol.wire import BITS, name_of

# By ONNX Runtime's name: ours, and the number in onnx.TensorProto.DataType.
TYPES = {
    "tensor(bfloat16)": ("bfloat16", 16),
    "tensor(float8e4m3fn)": ("float8_e4m3fn", 17),
    "tensor(float8e4m3fnuz)": ("float8_e4m3fnuz", 18),
    "tensor(float8e5m2)": ("float8_e5m2", 19),
    "tensor(float8e5m2fnuz)": ("float8_e5m2fnuz", 20),
    "tensor(uint4)": ("uint4", 21),
    "tensor(int4)": ("int4", 22),
    "tensor(float8e8m0)": ("float8_e8m0fnu", 24),
    "tensor(uint2)": ("uint2", 25),
    "tensor(int2)": ("int2", 26),
}
NUMBERS = dict(TYPES.values())
WIDTHS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
"""Bits of an element where ONNX Runtime packs several into a byte, the first into the lowest bits."""

Fed = Tuple[Dict[str, Any], List[Any]]
"""Values by input name, and the arrays that must stay alive while the values are used."""


def needs_values(session: Any) -> bool:
    """Return whether an input or output of the session has a type in ``TYPES``."""
    return any(one.type in TYPES for one in (*session.get_inputs(), *session.get_outputs()))


def values_of(feed: Mapping[str, Any]) -> Fed:
    """Return a feed as ``OrtValue`` objects by input name, and the arrays whose memory these use.

    Raise ``Failure`` if this version of ONNX Runtime cannot take such an array.
    """
    import numpy as np
    import onnxruntime

    make, kept, values = onnxruntime.OrtValue, [], {}
    for name, given in feed.items():
        dtype = name_of(given.dtype)
        array = _packed(given[dtype], dtype) if dtype in BITS else np.ascontiguousarray(given).reshape(given.shape)
        if dtype not in BITS:
            values[name] = make.ortvalue_from_numpy(array)
        elif hasattr(make, "ortvalue_from_numpy_with_onnx_type"):
            values[name] = make.ortvalue_from_numpy_with_onnx_type(array, NUMBERS[dtype])
        else:
            what = "ONNX Runtime %s cannot take input %r of type %s" % (onnxruntime.__version__, name, dtype)
            raise Failure(ENGINE, what, "upgrade onnxruntime to 1.20 or later")
        kept.append(array)
    return values, kept


def run(session: Any, names: List[str], fed: Fed) -> List[Any]:
    """Return the session's outputs ``names`` for ``fed``, as arrays."""
    return [_array(one) for one in session.run_with_ort_values(names, fed[0])]


def _array(value: Any) -> Any:
    import numpy as np

    from ..protocol.arrays import dtype_of

    if value.data_type() not in TYPES:
        return value.numpy()
    name = TYPES[value.data_type()][0]
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    dtype = dtype_of(name)
    nbytes = -(-count * WIDTHS.get(name, 8 * dtype.itemsize) // 8)
    bits = np.frombuffer(ctypes.string_at(value.data_ptr(), nbytes) if nbytes else b"", dtype[name])
    return _unpacked(bits, name, count).view(dtype).reshape(shape)


def _packed(bits: Any, name: str) -> Any:
    """Return ``bits`` as ONNX Runtime requires elements of type ``name``: packed types fill the array's beginning."""
    import numpy as np

    width = WIDTHS.get(name)
    if width is None:
        return np.ascontiguousarray(bits).reshape(bits.shape)
    packed, low = np.zeros(bits.size, np.uint8), bits.reshape(-1) & ((1 << width) - 1)
    for place in range(8 // width):
        part = low[place :: 8 // width]
        packed[: part.size] |= part << (place * width)
    return packed.reshape(bits.shape)


def _unpacked(bits: Any, name: str, count: int) -> Any:
    """Return ``count`` elements; elements of packed types are unpacked, each to the low bits of a byte."""
    import numpy as np

    width = WIDTHS.get(name)
    if width is None:
        return bits
    places = np.arange(0, 8, width, dtype=np.uint8)
    return ((bits[:, None] >> places) & np.uint8((1 << width) - 1)).reshape(-1)[:count]
