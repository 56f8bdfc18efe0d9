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
"""The newest opset of TensorRT 8.2 and of ONNX Runtime 1.10, the versions of JetPack 4.6."""

IR_VERSION = 7
"""The IR version that came with opset 13 (onnx 1.8)."""


def float_input(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """Return a float32 input or output of a graph; a ``str`` in ``shape`` names a dynamic dimension."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def content_digest(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return the SHA-256 of the arrays' names, dtypes, shapes and bytes, which no compression of a file changes."""
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
    """Check the model with shape inference, write it to ``path`` with opset 13 and IR version 7, and return it.

    ``provenance`` goes into the model's metadata.

    Raises:
        onnx.checker.ValidationError: if nodes, names or shapes are inconsistent.
    """
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), path.parent.name, list(inputs), list(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pytest-hil")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(provenance))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return model
