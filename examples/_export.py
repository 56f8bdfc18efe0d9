"""Writes trained weights as an ONNX file that every runtime since JetPack 4 reads.

The file is put together node by node: an exporter would choose opset, IR version and names itself.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

OPSET = 13
"""Newest opset of TensorRT 8.2 and of ONNX Runtime 1.10, what JetPack 4.6 has."""

IR_VERSION = 7
"""The IR version that came with opset 13 (onnx 1.8)."""


def float_input(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """A float32 graph input or output; a ``str`` is a dynamic dimension's name."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def content_digest(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes: the same content, however it was compressed."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def write_model(  # noqa: PLR0913 - a graph has these parts
    path: Path,
    *,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]],
    provenance: Mapping[str, str],
) -> onnx.ModelProto:
    """Write opset 13, IR 7, checked with shapes inferred; ``provenance`` goes into the metadata.

    Raises:
        onnx.checker.ValidationError: where nodes, names or shapes do not fit together.
    """
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), path.parent.name, list(inputs), list(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pytest-hil")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(provenance))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return model
