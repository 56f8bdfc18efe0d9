"""Frames between host, supervisor and worker: a fixed head, a JSON header, raw bytes; never pickle.

The head is ``HEAD``: magic, header length, body length, little endian. Arrays in the body are C-contiguous and little
endian, and start at multiples of ``ALIGN`` bytes. Malformed input raises ``WireError``.
"""

import json
import struct
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Tuple

MAGIC = b"\x93HIL1\r\n\x1a"  # not ASCII; any newline translation corrupts it, so it is detected at once
HEAD = struct.Struct("<8sIQ")
MAX_HEADER = 1 << 20
MAX_BODY = 2 << 30
MAX_ARRAYS = 4096
MAX_RANK = 32  # numpy's own limit until 2.0
MAX_DIGITS = 20  # of a JSON integer: 64 bits and a sign; parsing longer ones takes quadratic time before Python 3.11
ALIGN = 64
BITS = {
    "bfloat16": "<u2",
    "float8_e4m3fn": "|u1",
    "float8_e4m3fnuz": "|u1",
    "float8_e5m2": "|u1",
    "float8_e5m2fnuz": "|u1",
    "float8_e8m0fnu": "|u1",
    "int4": "|u1",
    "uint4": "|u1",
    "int2": "|u1",
    "uint2": "|u1",
}
"""Types that numpy lacks, by ml_dtypes' names, and numpy's type of the bits of one element.

Elements of less than a byte take a byte each, in its low bits.
"""
ITEM_SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
ITEM_SIZES.update({name: int(bits[-1]) for name, bits in BITS.items()})

Header = Dict[str, Any]


class WireError(Exception):
    """A frame is malformed, ended early, or cannot be sent."""


class Closed(WireError):
    """The stream was closed between two frames, or the other side went away."""


class Silent(WireError):
    """The other side neither sent nor read a byte for longer than ``patience``."""


class Slot(NamedTuple):
    """The position of one array in a body; ``offset`` and ``nbytes`` are in bytes."""

    name: str
    dtype: str
    shape: Tuple[int, ...]
    offset: int
    nbytes: int


@lru_cache(maxsize=256)
def name_of(dtype: Any) -> str:
    """Return the name of an array's element type.

    A type that numpy lacks (``BITS``) is a dtype with one field, which has the type's name.
    """
    names = dtype.names or ()
    is_bits = len(names) == 1 and names[0] in BITS and dtype.itemsize == ITEM_SIZES[names[0]]
    return str(names[0] if is_bits else dtype.name)


def aligned(size: int) -> int:
    """Return ``size`` rounded up to a multiple of ``ALIGN``."""
    return -(-size // ALIGN) * ALIGN


def encode(header: Header, body: int) -> bytes:
    """Return head and header of a frame with a body of ``body`` bytes.

    Raise ``WireError`` if the header is not JSON or is too long.
    """
    try:
        text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("the header is not JSON: %s" % error) from None
    if len(text) > MAX_HEADER:
        raise WireError("the header has %d bytes, the limit is %d" % (len(text), MAX_HEADER))
    return HEAD.pack(MAGIC, len(text), body) + text


def decode_head(data: bytes, max_body: int = MAX_BODY) -> Tuple[int, int]:
    """Return header length and body length (bytes) from the first ``HEAD.size`` bytes of a frame.

    Raise ``WireError`` if they are not the start of a frame, or a length exceeds its limit.
    """
    if len(data) != HEAD.size:
        raise WireError("a frame's head has %d bytes, not %d" % (HEAD.size, len(data)))
    magic, header, body = HEAD.unpack(data)
    if magic != MAGIC:
        raise WireError("not the start of a frame: %r" % data[: len(MAGIC)])
    if header > MAX_HEADER:
        raise WireError("the frame announces a header of %d bytes, the limit is %d" % (header, MAX_HEADER))
    if body > max_body:
        raise WireError("the frame announces a body of %d bytes, the limit is %d" % (body, max_body))
    return header, body


def decode_header(data: bytes) -> Header:
    """Return a frame's JSON object.

    Raise ``WireError`` for NaN, infinity, duplicate keys, integers of more than ``MAX_DIGITS`` characters, and for
    anything that is not an object.
    """
    try:
        header = json.loads(
            data.decode("utf-8"),
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_real,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        raise WireError("the header is not strict JSON: %s" % error) from None
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    return header


def slots(header: Header, body: int) -> List[Slot]:
    """Return the arrays that ``header`` lists, for a frame with a body of ``body`` bytes.

    Raise ``WireError`` if the arrays do not fill the body exactly. If the header lists no arrays, the body is raw bytes
    of any length, and the result is empty.
    """
    listing = header.get("arrays", [])
    if not isinstance(listing, list) or len(listing) > MAX_ARRAYS:
        raise WireError("'arrays' is not a list of at most %d entries" % MAX_ARRAYS)
    slots_of_body = []
    offset = 0
    for entry in listing:
        slot = _slot(entry, offset)
        if slot.nbytes > body - offset:
            raise WireError("array %r reaches past the end of the body" % slot.name)
        slots_of_body.append(slot)
        offset = aligned(offset + slot.nbytes)
    if listing and offset != body:
        raise WireError("the arrays take %d bytes, the body has %d" % (offset, body))
    return slots_of_body


def _slot(entry: Any, offset: int) -> Slot:
    if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape", "nbytes"}:
        raise WireError("an array needs exactly name, dtype, shape and nbytes")
    name, dtype, shape, nbytes = entry["name"], entry["dtype"], entry["shape"], entry["nbytes"]
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise WireError("array %.80r has the unsupported dtype %.80r" % (name, dtype))
    if not _is_size(nbytes) or not isinstance(shape, list) or len(shape) > MAX_RANK or not all(map(_is_size, shape)):
        raise WireError("array %.80r has no valid shape or size" % name)
    size = ITEM_SIZES[dtype]
    for length in shape:
        size *= length
    if size != nbytes:
        raise WireError("array %.80r announces %d bytes, but its shape and dtype need %d" % (name, nbytes, size))
    return Slot(name, dtype, tuple(shape), offset, nbytes)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 1 << 62


def _constant(text: str) -> Any:
    raise ValueError("%s is not JSON" % text)


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("an integer of %d digits" % len(text))
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("%.30s is not finite" % text)
    return value


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table
