from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hil.config.load import load
from hil.results import Cause, Row, Verdict
from hil.session import Request, Session
from tests.models import images, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.results import CheckResult

TOML = """
[models.{name}]
path = "{name}.onnx"
data = "data.npz"
precisions = ["fp32"]
"""
RANGES = """
[models.reciprocal.ranges]
image = [0.0, 1.0]
"""
EXAMPLES = 12
NODES = {
    "relu": [helper.make_node("Relu", ["image"], ["y"])],
    "reciprocal": [helper.make_node("Reciprocal", ["image"], ["y"])],
    "batch_statistics": [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["image", "mean"], ["y"]),
    ],
}


@dataclass(frozen=True)
class Judged:
    """The results of both properties by model, in the project at ``root``, and the steps that were announced."""

    root: Path
    said: list[str]
    results: dict[str, tuple[CheckResult, CheckResult]]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """Return the results of both properties of each model of ``NODES``, on the CPU, in the project's folder."""
    root = tmp_path_factory.mktemp("properties")
    for name, nodes in NODES.items():
        write(root / f"{name}.onnx", nodes, {"image": ["batch", 2, 6, 6]}, {"y": ["batch", 2, 6, 6]})
    np.savez(root / "data.npz", image=np.abs(images(16)))
    tables = "".join(TOML.format(name=name) for name in NODES)
    (root / "hil.toml").write_text(f"{tables}{RANGES}[measure]\nexamples = {EXAMPLES}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.chdir(root)
        said: list[str] = []
        request = Request(load(root / "hil.toml"), "cpu", "cpu", 0.0, "one", root / "report", said.append)
        with closing(Session.open(request)) as session:

            def judge(model: str, name: str) -> CheckResult:
                return session.judge(Row(id=f"property.{name}", model=model, precision="fp32", required=True)).result

            yield Judged(root, said, {model: (judge(model, "parity"), judge(model, "stable")) for model in NODES})


def test_a_sound_engine_passes_both_properties(judged: Judged) -> None:
    """All batches are tried, and Hypothesis leaves no folder beside the config."""
    parity, stable = judged.results["relu"]
    assert parity.verdict is stable.verdict is Verdict.PASSED
    assert parity.measurement is not None
    assert parity.measurement.value == EXAMPLES
    assert not (judged.root / ".hypothesis").exists()


def test_both_properties_are_judged_by_the_same_inferences(judged: Judged) -> None:
    """A sound engine's batches are drawn and run once for both properties; a failed property is searched alone."""
    searches = [text for text in judged.said if "drawn batches" in text]
    assert [text for text in searches if text.startswith("relu ")] == [
        f"relu fp32: property.parity and property.stable, up to {EXAMPLES} drawn batches"
    ]
    assert f"batch_statistics fp32: property.stable, up to {EXAMPLES} drawn batches" in searches


def test_batch_statistics_fail_stability(judged: Judged) -> None:
    """A normalization in training mode passes parity, and fails stability with an example of two samples."""
    parity, stable = judged.results["batch_statistics"]
    assert parity.verdict is Verdict.PASSED
    assert stable.verdict is Verdict.FAILED
    assert "other samples of its batch" in stable.reason
    assert len(stable.details["example"]["samples"]) == 2


def test_non_finite_outputs_within_the_range_fail_and_are_saved(judged: Judged) -> None:
    """A reciprocal of zero, which only the declared range includes, fails, and its inputs are in the report."""
    _, stable = judged.results["reciprocal"]
    assert stable.verdict is Verdict.FAILED
    assert "not finite" in stable.reason
    with np.load(judged.root / "report" / stable.details["inputs"], allow_pickle=False) as saved:
        assert (saved["image"] == 0).any()


def test_a_model_that_draws_random_numbers_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that compare outputs are not run, with the node as the reason: neither failed nor passed."""
    nodes = [helper.make_node("RandomNormalLike", ["image"], ["noise"], name="sampler", seed=1.0)]
    nodes.append(helper.make_node("Add", ["image", "noise"], ["y"]))
    write(tmp_path / "m.onnx", nodes, {"image": ["batch", 2, 6, 6]}, {"y": ["batch", 2, 6, 6]})
    np.savez(tmp_path / "data.npz", image=np.abs(images(16)))
    (tmp_path / "hil.toml").write_text(TOML.format(name="m") + 'task = "regression"\n')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    request = Request(load(tmp_path / "hil.toml"), "cpu", "cpu", 0.0, "one", tmp_path / "report", lambda _: None)
    checks = ("parity.outputs", "parity.task", "parity.repeatable", "property.parity", "property.stable")
    with closing(Session.open(request)) as session:
        for check in checks:
            result = session.judge(Row(id=check, model="m", precision="fp32", required=True)).result
            assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED), (check, result.reason)
            assert "node 'sampler' (RandomNormalLike) draws random numbers" in result.reason


@pytest.mark.parametrize(("dtype", "padding"), [(np.int64, "right"), (np.bool_, "left"), (np.int64, "ignored")])
def test_a_mask_of_valid_lengths_is_drawn_as_one(
    dtype: Any, padding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each drawn mask has a valid position, since a mean over no position would not be finite."""
    nodes = [
        helper.make_node("Cast", ["mask"], ["written"], to=1),
        helper.make_node("Sub", ["one", "written"], ["counted"])
        if padding == "ignored"
        else helper.make_node("Identity", ["written"], ["counted"]),
        helper.make_node("Mul", ["x", "counted"], ["kept"]),
        helper.make_node("ReduceSum", ["kept"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["counted"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["y"]),
    ]
    for node in nodes[3:5]:
        node.input.append("axis")
    ports = [helper.make_tensor_value_info("x", 1, ["n", 6])]
    ports.append(helper.make_tensor_value_info("mask", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["n", 6]))
    graph = helper.make_graph(
        nodes,
        "g",
        ports,
        [helper.make_tensor_value_info("y", 1, ["n"])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1]), helper.make_tensor("one", 1, [], [1.0])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    valid = np.arange(6) < np.arange(1, 17)[:, None] % 6 + 1
    mask = {"right": valid, "left": valid[:, ::-1], "ignored": ~valid}[padding]
    np.savez(tmp_path / "data.npz", x=images(16)[:, 0, 0, :6], mask=mask.astype(dtype))
    (tmp_path / "hil.toml").write_text(TOML.format(name="m") + f"[measure]\nexamples = {EXAMPLES}\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    request = Request(load(tmp_path / "hil.toml"), "cpu", "cpu", 0.0, "one", tmp_path / "report", lambda _: None)
    with closing(Session.open(request)) as session:
        for check in ("property.parity", "property.stable"):
            result = session.judge(Row(id=check, model="m", precision="fp32", required=True)).result
            assert result.verdict is Verdict.PASSED, result.reason
