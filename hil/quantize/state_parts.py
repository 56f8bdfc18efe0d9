"""Finds the tensors that hold elements of a state unchanged, such as a layer's part of a stacked state."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from hil.dtypes import is_float
from hil.onnx_files.external_data import save
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.reference import cpu_session
from hil.quantize.calibrate import silence
from hil.quantize.prepare import prepared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    Arrays = Mapping[str, np.ndarray[Any, Any]]

MOVES = frozenset(
    {"Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators whose outputs hold elements of their first input (of each, for Concat), with the same values."""


def state_parts(
    model: Path, states: Iterable[str], feeds: Arrays, tensors: AbstractSet[str], *, fold: bool = True
) -> list[tuple[str, str, np.ndarray[Any, Any]]]:
    """Return each state with each of ``tensors`` that holds elements of it, as booleans in the state's shape.

    ``feeds`` are the inputs of one step. ``fold`` as in ``hil.quantize.activations.observe``. The model runs with a
    state whose elements are all different, so that its values show where each one goes.
    """
    found = []
    with silence(), tempfile.TemporaryDirectory(prefix="hil-states-") as folder:
        proto = prepared(model, Path(folder)) if fold else onnx.load(str(model))
        for state in (one for one in states if is_float(feeds[one].dtype)):
            names = sorted((_reached(proto.graph, state) - {state}) & tensors)
            if names:
                del proto.graph.output[:]
                proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
                save(proto, Path(folder) / "marked.onnx")
                parts = _places(cpu_session(Path(folder) / "marked.onnx"), names, state, feeds)
                found += [(state, name, part) for name, part in parts.items() if part.any()]
    return found


def _places(session: Any, names: list[str], state: str, feeds: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    begin, taken = feeds[state], {one.name for one in session.get_inputs()}
    parts = {name: np.zeros(begin.size, bool) for name in names}
    first = int(1 / np.finfo(begin.dtype).eps)  # from here to its double, the type holds each whole number
    for start in range(0, begin.size, first):
        count = min(first, begin.size - start)
        marked = np.zeros(begin.size, begin.dtype)
        marked[start : start + count] = first + np.arange(count)
        fed = {name: array for name, array in feeds.items() if name in taken} | {state: marked.reshape(begin.shape)}
        for name, values in zip(names, run_on_host(session, names, fed), strict=True):
            places = values[(values >= first) & (values < first + count)].astype(np.int64) - first
            parts[name][start + places] = True
    return {name: part.reshape(begin.shape) for name, part in parts.items()}


def _reached(graph: onnx.GraphProto, state: str) -> set[str]:
    """Return the tensors that hold elements of ``state``, as the operators on the way show."""
    reached = {state}
    for node in graph.node:
        if node.op_type in MOVES and reached & set(node.input if node.op_type == "Concat" else node.input[:1]):
            reached |= set(node.output)
    return reached
