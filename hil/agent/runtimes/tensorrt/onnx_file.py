"""Read the parts of an ONNX file that messages name, by protobuf's wire format, since targets have no onnx package.

Sources: field numbers from onnx.proto3, the wire format from protobuf.dev, "Encoding". Weights are not read.
"""

import mmap
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

MAX_NODES = 1000000
MAX_TEXT = 4096  # bytes of a name
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Malformed(ValueError):
    """The file is not an ONNX file, or is truncated."""


class Node(NamedTuple):
    """A node of the main graph; ``domain`` is empty for ONNX's own operators."""

    name: str
    op: str
    domain: str


class OnnxFile(NamedTuple):
    """``opsets`` by domain, the main graph's ``nodes`` in order, and in ``inputs`` each input's dimension names.

    The name of a dimension without a name is None.
    """

    opsets: Dict[str, int]
    nodes: Tuple[Node, ...]
    inputs: Dict[str, Tuple[Optional[str], ...]]

    def opset(self, domain: str = "") -> Optional[int]:
        """Return the opset version of ``domain``; None if the file does not import it."""
        return self.opsets.get("" if domain == "ai.onnx" else domain)


def read(path: str) -> OnnxFile:
    """Read nodes, opsets and input dimensions. Raise ``Malformed``, or ``OSError`` if the file cannot be read."""
    if os.path.getsize(path) == 0:
        raise Malformed("the file is empty")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _model(data)


def _model(data: Any) -> OnnxFile:
    opsets: Dict[str, int] = {}
    nodes: List[Node] = []
    inputs: Dict[str, Tuple[Optional[str], ...]] = {}
    for field, kind, start, end in _fields(data, 0, len(data)):
        if (field, kind) == (8, LENGTH):  # ModelProto.opset_import
            domain, version = _text(data, start, end, 1), _number(data, start, end, 2)
            opsets["" if domain == "ai.onnx" else domain] = version
        elif (field, kind) == (7, LENGTH):  # ModelProto.graph
            _graph(data, start, end, nodes, inputs)
    return OnnxFile(opsets, tuple(nodes), inputs)


def _graph(data: Any, start: int, end: int, nodes: List[Node], inputs: Dict[str, Tuple[Optional[str], ...]]) -> None:
    for field, kind, first, last in _fields(data, start, end):
        if (field, kind) == (1, LENGTH):  # GraphProto.node
            if len(nodes) >= MAX_NODES:
                raise Malformed("the file has over %d nodes" % MAX_NODES)
            nodes.append(Node(*(_text(data, first, last, number) for number in (3, 4, 7))))
        elif (field, kind) == (11, LENGTH):  # GraphProto.input
            inputs[_text(data, first, last, 1)] = _dimensions(data, first, last)


def _dimensions(data: Any, start: int, end: int) -> Tuple[Optional[str], ...]:
    """Return the names (``dim_param``) of a ``ValueInfoProto``'s dimensions; None for those without a name."""
    for number in (2, 1, 2):  # ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape
        inside = _last(data, start, end, number)
        if inside is None:
            return ()
        start, end = inside
    return tuple(
        _text(data, first, last, 2) or None  # Dimension.dim_param
        for field, kind, first, last in _fields(data, start, end)
        if (field, kind) == (1, LENGTH)
    )


def _last(data: Any, start: int, end: int, number: int) -> Optional[Tuple[int, int]]:
    span = None
    for field, kind, first, last in _fields(data, start, end):
        if (field, kind) == (number, LENGTH):
            span = (first, last)
    return span


def _text(data: Any, start: int, end: int, number: int) -> str:
    where = _last(data, start, end, number)
    if where is None:
        return ""
    return bytes(data[where[0] : min(where[1], where[0] + MAX_TEXT)]).decode("utf-8", "replace")


def _number(data: Any, start: int, end: int, number: int) -> int:
    value = 0
    for field, kind, first, last in _fields(data, start, end):
        if (field, kind) == (number, VARINT):
            value = _varint(data, first, last)[0]
    return value


def _fields(data: Any, start: int, end: int) -> Iterator[Tuple[int, int, int, int]]:
    """Yield ``(field, wire type, start, end)`` of each field; its content is at ``data[start:end]``."""
    while start < end:
        tag, start = _varint(data, start, end)
        field, kind = tag >> 3, tag & 7
        if kind == LENGTH:
            length, start = _varint(data, start, end)
            stop = start + length
        elif kind == VARINT:
            stop = _varint(data, start, end)[1]
        elif kind in (FIXED64, FIXED32):
            stop = start + (8 if kind == FIXED64 else 4)
        else:
            raise Malformed("byte %d has wire type %d" % (start, kind))
        if stop > end or not field:
            raise Malformed("the file is truncated or not an ONNX file (byte %d)" % start)
        yield field, kind, start, stop
        start = stop


def _varint(data: Any, start: int, end: int) -> Tuple[int, int]:
    """Return the number, at most ten bytes long, and the position after it."""
    value = 0
    for at in range(start, min(end, start + 10)):
        byte = data[at]
        value |= (byte & 0x7F) << (7 * (at - start))
        if not byte & 0x80:
            return value, at + 1
    raise Malformed("a number at byte %d does not end" % start)
