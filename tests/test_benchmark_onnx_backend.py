"""A sample of ``benchmarks.onnx_backend``, which is run as a command in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from benchmarks.onnx_backend.cases import Case
from benchmarks.onnx_backend.judged import _damaged, judged
from hil.config.spec import TargetSpec
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.targets.client import AgentClient


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentClient]:
    """An agent that holds its target."""
    with open_target("cpu", TargetSpec(store=str(tmp_path_factory.mktemp("store")))).start_agent() as client:
        client.hold("token", "tester")
        yield client


def case(operator: str, x: Any, y: Any, *, opset: int = 25, **attributes: Any) -> Case:
    """Return a case of one operator; the expected output is ``y``, whatever the operator computes."""
    values = {"x": np.asarray(x), "y": np.asarray(y)}
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in values.items()}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **attributes)],
        operator,
        [helper.make_tensor_value_info("x", types["x"], values["x"].shape)],
        [helper.make_tensor_value_info("y", types["y"], values["y"].shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)
    return Case(operator, "node", model, [values["x"]], [values["y"]], 1e-3, 1e-7)


NONE = np.zeros((0, 2), np.float32)
FLOATS = np.array([1.0, -2.0], np.float32)


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        (case("Abs", FLOATS, np.abs(FLOATS)), "passed", ""),
        (case("Abs", np.float32(-1), np.float32(1)), "passed", ""),
        (case("Cast", FLOATS, FLOATS.astype("bfloat16"), to=TensorProto.BFLOAT16), "passed", ""),
        (case("Abs", FLOATS, np.array([1.0, 2.1], np.float32)), "failed", ""),
        (
            case("Abs", np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)),
            "refused",
            "expected output is empty",
        ),
        (case("Identity", np.array([1j], np.complex64), np.array([1j], np.complex64)), "refused", "type complex64"),
        (case("Frobnicate", FLOATS, FLOATS), "refused", "no such operator"),
        (case("RandomNormalLike", FLOATS, FLOATS, opset=17), "refused", "draws random numbers"),
    ],
    ids=["vector", "scalar", "bfloat16", "other", "empty", "complex", "operator", "random"],
)
def test_outcomes(agent: AgentClient, tmp_path: Path, given: Case, outcome: str, reason: str) -> None:
    """A case passes, fails or is refused with its reason; damage never passes."""
    row = judged(agent, given, tmp_path / "case")
    assert row["outcome"] == outcome, row
    assert reason in row["reason"]
    assert (row["wrong"], row["missed"]) == ("", False)


def test_a_refusal_of_what_runs_is_wrong(agent: AgentClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that hil refuses although ONNX Runtime alone gives the expected output counts as wrong."""
    good = case("Abs", FLOATS, np.abs(FLOATS))
    monkeypatch.setattr("benchmarks.onnx_backend.judged._config", lambda _: "[models.case]\n")
    row = judged(agent, good, tmp_path / "case")
    assert row["outcome"] == "refused"
    assert row["wrong"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "bfloat16", "float8_e5m2", "int4"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0, 2)], ids=str)
def test_damage_changes_the_expected_output(dtype: str, shape: tuple[int, ...]) -> None:
    """A damaged output differs from the expected one, in one element or in its shape, and keeps its dtype."""
    array = np.ones(shape, np.float32).astype(dtype)
    damaged = np.asarray(_damaged(Case("c", "node", case("Abs", FLOATS, FLOATS).model, [], [array], 1e-3, 0))["y"])
    assert damaged.dtype == array.dtype
    if array.size:
        assert int((damaged.astype(float) != array.astype(float)).sum()) == 1
    else:
        assert damaged.shape != array.shape
