"""External data on the target: stored next to the model under its digest, verified before each build and load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.errors import HilError, LabError
from hil.onnx_files.external_data import addressed, external_files
from tests.models import point_to

if TYPE_CHECKING:
    from hil.targets.client import AgentClient

WEIGHTS = np.arange(64, dtype=np.float32)
X = {"x": np.ones(64, np.float32)}


def _weight(name: str = "w", location: str = "shared.bin") -> TensorProto:
    return point_to(numpy_helper.from_array(WEIGHTS, name), location, offset=0, length=WEIGHTS.nbytes)


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [64])


def _saved(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto], **more: Any) -> Path:
    graph = helper.make_graph(nodes, "g", [_value("x")], [_value("y")], weights)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=sets, ir_version=8, **more).SerializeToString())
    (path.parent / "shared.bin").write_bytes(WEIGHTS.tobytes())
    return path


def _add(path: Path) -> Path:
    return _saved(path, [helper.make_node("Add", ["x", "w"], ["y"])], [_weight()])


def _multiply(path: Path) -> Path:
    return _saved(path, [helper.make_node("Mul", ["x", "w"], ["y"])], [_weight()])


def _branch(path: Path) -> Path:
    """Write a model whose weight is an initializer of a subgraph."""
    inner = helper.make_graph([helper.make_node("Add", ["x", "w"], ["z"])], "inner", [], [_value("z")], [_weight()])
    condition = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))  # noqa: FBT003 - numpy's
    chosen = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return _saved(path, [condition, chosen], [])


def _function(path: Path) -> Path:
    """Write a model whose weight is a constant of a local function."""
    nodes = [helper.make_node("Constant", [], ["w"], value=_weight()), helper.make_node("Add", ["a", "w"], ["b"])]
    function = helper.make_function("own", "Shift", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    return _saved(path, [helper.make_node("Shift", ["x"], ["y"], domain="own")], [], functions=[function])


def _run(agent: AgentClient, model: Path) -> Any:
    digest, external = agent.put_model(model)
    built = agent.build(digest, "fp32", "onnxruntime", {}, 60, external=external)
    with agent.load(built.key, {}, 60, fresh=False) as worker:
        return dict(worker.run(X))["y"]


def test_shared_weights_and_weights_of_a_subgraph(shared_agent: AgentClient, tmp_path: Path) -> None:
    """Models that share a file, and one with weights in a subgraph, are built, loaded and run on the target."""
    for write, expected in ((_add, 1 + WEIGHTS), (_multiply, WEIGHTS), (_branch, 1 + WEIGHTS)):
        model = addressed(write(tmp_path / f"{write.__name__}.onnx"), tmp_path / "cache")
        np.testing.assert_array_equal(_run(shared_agent, model), expected)


def test_a_constant_of_a_local_function(shared_agent: AgentClient, tmp_path: Path) -> None:
    """A constant of a local function may be external data too."""
    model = addressed(_function(tmp_path / "m.onnx"), tmp_path / "cache")
    np.testing.assert_array_equal(_run(shared_agent, model), 1 + WEIGHTS)


def test_damaged_weights_fail_a_build_and_a_load(shared_agent: AgentClient, tmp_path: Path) -> None:
    """Weights are hashed before each build and load, even if the engine is already in the store."""
    model = addressed(_add(tmp_path / "m.onnx"), tmp_path / "cache")
    digest, external = shared_agent.put_model(model)
    built = shared_agent.build(digest, "fp32", "onnxruntime", {}, 60, external=external)
    assert built.digest == digest
    blob = Path(shared_agent.hello["store"]) / "blobs" / external[0]
    for request in (
        lambda: shared_agent.load(built.key, {}, 60),
        lambda: shared_agent.build(digest, "fp32", "onnxruntime", {}, 60, external=external),
    ):
        content = bytearray(WEIGHTS.tobytes())
        content[100] ^= 1
        blob.write_bytes(content)
        with pytest.raises(LabError, match="was damaged in the store and has been deleted"):
            request()
        shared_agent.put_model(model)


def test_a_build_without_its_weights_fails(shared_agent: AgentClient, tmp_path: Path) -> None:
    """A build fails if its external data is not listed, or is not in the store."""
    model = addressed(_add(tmp_path / "m.onnx"), tmp_path / "cache")
    digest = shared_agent.put_blob(model)
    location = external_files(model)[0].location
    (Path(shared_agent.hello["store"]) / "blobs" / location).unlink(missing_ok=True)
    with pytest.raises(HilError, match="is not in the store"):
        shared_agent.build(digest, "fp32", "onnxruntime", {}, 60, external=[location])
