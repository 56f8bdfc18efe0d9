"""Element types that no release of TensorRT has, and types that it narrows, which changes values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from hil.lint.model_findings import Finding, Level, nodes, tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.lint.machine import Machine
    from hil.lint.model_graph import Graph

Type = TensorProto.DataType

MISSING = frozenset(
    {
        *("INT16", "UINT16", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128", "STRING"),
        *("FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4"),
    }
)
"""Types that TensorRT's ``DataType`` has in no release. Source: names of its Python API, 8.2 to 11.1."""

INDEXING = {"Slice": (1, 2, 4), "Clip": (1, 2)}
"""Inputs that are only bounds, of indices or values, so that the largest int32 has the effect of a larger value."""

PASSING = frozenset({"Concat", "Unsqueeze", "Squeeze", "Reshape", "Identity", "Cast", "Gather"})
"""Operators that pass the values of a constant on."""

MOVING = frozenset({"Cast", "Constant", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Concat", "Shape"})
"""Operators that compute nothing."""

UINT8_SINCE = (8, 5)
"""The first release with tensors of uint8. Source: names of the Python API."""

INT32 = np.iinfo(np.int32)
FLOAT32 = float(np.finfo(np.float32).max)


def type_findings(graph: Graph, machine: Machine) -> Iterator[Finding]:
    """Yield the findings on types that TensorRT lacks or narrows."""
    yield from _missing(graph)
    yield from _unsigned(graph, machine)
    if machine.has_int64 is not True:
        yield from _int64(graph, machine)
    yield from _double(graph)


def _missing(graph: Graph) -> Iterator[Finding]:
    inner = {name: tensor.data_type for name, tensor in graph.constants.items()}
    quantizers = {
        name for node in graph.nodes if "uantizeLinear" in node.op_type for name in (*node.input, *node.output)
    }
    by_type: dict[str, list[str]] = {}
    for name, number in {**inner, **graph.types}.items():
        named = Type.Name(number) if number in Type.values() else str(number)
        # What Q/DQ nodes hold is judged with their quantization.
        if named in MISSING and name not in quantizers:
            by_type.setdefault(named, []).append(name)
    for named, names in sorted(by_type.items()):
        fix = "export the model with float32, float16, int32 or int64 there (int8 only in Q/DQ nodes)"
        yield Finding("type", tensors(names), f"no release of TensorRT has the type {named.lower()}", fix)


def _unsigned(graph: Graph, machine: Machine) -> Iterator[Finding]:
    ends = {one.name for one in (*graph.proto.graph.input, *graph.proto.graph.output)}
    uint8 = [name for name, number in graph.types.items() if number == Type.Value("UINT8")]
    release = _release(machine)
    outside = [name for name in uint8 if name in ends]
    if outside and release is not None and release < UINT8_SINCE:
        what = f"TensorRT {machine.tensorrt} has no uint8, which came with 8.5"
        yield Finding("type", tensors(outside), what, "export the model with float32 or int32 there")
    computed = [
        node
        for node in graph.nodes
        if node.op_type not in {"Cast", "CastLike"}
        and "uantizeLinear" not in node.op_type
        and any(name in uint8 and name not in graph.constants for name in (*node.input, *node.output))
    ]
    if computed:
        what = "TensorRT has uint8 for inputs and outputs only, and nothing but a Cast may read or make it"
        fix = "cast the input to float32 first (or int32, for indices), and compute with that"
        yield Finding("type", nodes(computed), what, fix)


def _release(machine: Machine) -> tuple[int, ...] | None:
    parts = (machine.tensorrt or "").split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else None


def _int64(graph: Graph, machine: Machine) -> Iterator[Finding]:
    whose = f"TensorRT {machine.tensorrt}" if machine.tensorrt else "TensorRT before 10 (JetPack 6.0 and earlier)"
    if machine.has_int64 is False:
        ends = (*graph.proto.graph.input, *graph.proto.graph.output)
        wide = [
            one.name
            for one in ends
            if one.type.tensor_type.elem_type == Type.Value("INT64") and one.name not in graph.constants
        ]
        if wide:
            what = f"int64 becomes int32 in an engine of {whose}, and larger values are changed"
            fix = "feed and read int32 on the robot, and keep its values within int32"
            yield Finding("int64", tensors(wide, "input or output", "inputs or outputs"), what, fix, "warn")
    for name, tensor in graph.constants.items():
        if tensor.data_type != Type.Value("INT64") or _only_indexes(graph, name, set()):
            continue
        values = graph.values(name)
        if values is None or not values.size:
            continue
        beyond = next((int(v) for v in (values.min(), values.max()) if not INT32.min <= int(v) <= INT32.max), None)
        if beyond is not None:
            what = f"it holds {beyond}, which {whose} changes to the nearest int32"
            fix = "write a value within int32 that has the same effect, or use JetPack 6.1 or later"
            level: Level = "bad" if machine.has_int64 is False else "warn"
            yield Finding("int64", f"constant {name!r}", what, fix, level)


def _only_indexes(graph: Graph, name: str, visited: set[str]) -> bool:
    """Return whether a constant serves only as an index, so that clamping its values to int32 changes nothing.

    ``visited`` has the tensors that were examined before.
    """
    if name in visited:
        return True
    visited.add(name)
    readers = graph.readers.get(name, [])
    return bool(readers) and all(
        number in INDEXING.get(node.op_type, ())
        or (node.op_type in PASSING and all(_only_indexes(graph, made, visited) for made in node.output))
        for node, number in readers
    )


def _double(graph: Graph) -> Iterator[Finding]:
    double = Type.Value("DOUBLE")
    for name, tensor in graph.constants.items():
        values = graph.values(name) if tensor.data_type == double else None
        if values is None:
            continue
        large = values[np.isfinite(values) & (np.abs(values) > FLOAT32)]
        if large.size:
            what = f"it holds {large.flat[0]:.6g}, which TensorRT changes to the largest float32"
            yield Finding("double", f"constant {name!r}", what, "write a value within float32")
    ends = [one.name for one in (*graph.proto.graph.input, *graph.proto.graph.output)]
    wide = [name for name in ends if graph.types.get(name) == double and name not in graph.constants]
    computed = [
        node
        for node in graph.nodes
        if node.op_type not in MOVING and any(graph.types.get(n) == double for n in node.output)
    ]
    what = "TensorRT has no float64 and computes in float32, so results differ from the model's"
    if computed or wide:
        where = nodes(computed) if computed else tensors(wide, "input or output", "inputs or outputs")
        yield Finding("double", where, what, "export the model in float32, or convert its float64 to float32", "warn")
