from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto

from hil.agent.runtimes import runtime
from hil.agent.runtimes.ort_values import NUMBERS
from hil.dtypes import for_file, from_file
from hil.errors import EngineBuildError, EngineError, LabError, Unsupported
from hil.onnx_files.signature import TensorSpec
from tests.agent import models

if TYPE_CHECKING:
    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

Feed = dict[str, npt.NDArray[Any]]
GOOD = np.zeros((2, 4), np.float32)


def build(agent: AgentClient, path: Path, precision: str = "fp32", **options: object) -> BuiltEngine:
    """Build the engine of an ONNX file on disk."""
    return agent.build(agent.put_blob(path), precision, "onnxruntime", options, 60)


def test_ports_are_those_of_the_model(shared_worker: EngineWorker) -> None:
    """Names, dtypes and shapes come from the runtime; dynamic dimensions have their names."""
    assert shared_worker.inputs == (TensorSpec("x", "float32", ("n", 4)),)
    assert shared_worker.outputs == (TensorSpec("y", "float32", ("n", 3)),)


def test_outputs_equal_numpy_s(shared_worker: EngineWorker, feed: Feed) -> None:
    """A run returns the outputs by name, equal to numpy's."""
    [(name, value)] = shared_worker.run(feed)
    assert name == "y"
    np.testing.assert_allclose(value, np.maximum(feed["x"] @ models.WEIGHTS, 0), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (5,), (), (0, 3)], ids=str)
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_types_that_numpy_lacks(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    """A tensor of a type that numpy lacks is fed and returned bit for bit, whatever its rank."""
    held = [1, 2, 4, 0.5] if "float" in name else [1, 3, 0, 2] if name.startswith("u") else [1, -2, -1, 0]
    values = np.resize(np.array(held, np.float32), shape)
    cast = values.astype(name)
    for order in ((1, NUMBERS[name]), (NUMBERS[name], 1)):
        path = models.cast(tmp_path / "cast.onnx", *order, shape)
        feed = {"x": for_file(values if order[0] == 1 else cast)}
        engine = runtime("onnxruntime").load(str(path), {})
        [result] = engine.bind(feed).run()
        result = from_file(result)
        expected = cast if order[0] == 1 else cast.astype(np.float32)
        assert (result.dtype, result.shape) == (expected.dtype, shape)
        assert result.tobytes() == expected.tobytes()
        assert engine.outputs[0].dtype == expected.dtype.name


def test_an_agent_without_ml_dtypes_carries_them(shared_agent: AgentClient, tmp_path: Path) -> None:
    """bfloat16 and int4 pass through host, supervisor and worker in both directions, without ml_dtypes in the agent."""
    for name in ("bfloat16", "int4"):
        path = models.cast(tmp_path / f"{name}.onnx", NUMBERS[name], 1, (3,))
        with shared_agent.load(build(shared_agent, path).key, {}, 60) as worker:
            assert [str(port) for port in worker.inputs] == [f"x: {name}[3]"]
            [(_, values)] = worker.run({"x": np.array([1, -2, 3]).astype(name)})
            assert values.tolist() == [1, -2, 3]
            with pytest.raises(EngineError, match=f"has dtype float32.*pass it as {name}"):
                worker.run({"x": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": GOOD, "z": GOOD}, "input 'z' is unknown"),
        ({"y": GOOD}, "input 'x' is missing"),
        ({"x": GOOD.astype(np.float64)}, "has dtype float64"),
        ({"x": GOOD.astype(np.int32)}, "has dtype int32"),
        ({"x": GOOD[0]}, "has rank 1"),
        ({"x": GOOD[:, :3]}, "has length 3 in dimension 1, not 4"),
        ({"x": np.array(["a"])}, "unsupported dtype"),
    ],
)
def test_bad_input_is_refused(shared_worker: EngineWorker, bad: Feed, message: str) -> None:
    """A feed that does not fit is refused with one line before the runtime gets it; the worker stays alive."""
    with pytest.raises(EngineError, match=message) as caught:
        shared_worker.run(bad)
    assert "on target 'bench'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(shared_worker.run({"x": GOOD})) == 1


def test_int8_needs_qdq_nodes(shared_agent: AgentClient, model: Path, tmp_path: Path) -> None:
    """int8 needs QuantizeLinear and DequantizeLinear nodes in the file; without them the build is refused."""
    with pytest.raises(EngineBuildError, match="no QuantizeLinear and DequantizeLinear"):
        build(shared_agent, model, "int8")
    built = build(shared_agent, models.tiny_qdq(tmp_path / "qdq.onnx"), "int8")
    with shared_agent.load(built.key, {}, 60, fresh=False) as worker:
        assert worker.run({"x": GOOD})[0][1].shape == (2, 3)


def test_an_unsupported_precision_is_not_built(shared_agent: AgentClient, model: Path) -> None:
    """A build in a precision that the CPU provider lacks is Unsupported, with the runtime's reason."""
    with pytest.raises(Unsupported, match="has no fp16"):
        build(shared_agent, model, "fp16")


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
def test_other_precisions_have_a_reason(precision: str) -> None:
    """The CPU provider has only fp32 and int8; any other precision has a reason."""
    assert f"has no {precision}" in str(runtime("onnxruntime").reason_against(precision))


def test_an_unknown_runtime_is_unsupported(shared_agent: AgentClient, model: Path) -> None:
    """The error for an unknown runtime lists the supported ones."""
    with pytest.raises(Unsupported, match=r"'tflite' is not supported.*onnxruntime"):
        shared_agent.build(shared_agent.put_blob(model), "fp32", "tflite", {}, 60)


def test_an_unknown_operator_is_named(shared_agent: AgentClient, tmp_path: Path) -> None:
    """A model that the runtime cannot load fails to build, and the runtime's message names the operator."""
    with pytest.raises(EngineBuildError, match="Frobnicate") as caught:
        build(shared_agent, models.unknown_operator(tmp_path / "odd.onnx"))
    assert "\n" not in str(caught.value)


def test_a_type_that_an_operator_lacks_is_no_damage(shared_agent: AgentClient, tmp_path: Path) -> None:
    """If an operator has no kernel for its types, the advice is about the operator and not about the file."""
    path = models.cast(tmp_path / "fp4.onnx", TensorProto.FLOAT4E2M1, TensorProto.FLOAT, (3,))
    with pytest.raises(EngineBuildError, match=r"Cast\(.*: upgrade onnxruntime .* with types and attributes"):
        build(shared_agent, path)


def test_a_truncated_file_is_refused(shared_agent: AgentClient, model: Path, tmp_path: Path) -> None:
    """A file cut in half, or empty, gives one error message, and no engine is recorded."""
    cut = tmp_path / "cut.onnx"
    engines = Path(shared_agent.hello["store"]) / "engines"
    before = set(engines.iterdir())
    for content, precision in ((model.read_bytes()[: model.stat().st_size // 2], "fp32"), (b"", "int8")):
        cut.write_bytes(content)
        with pytest.raises(EngineBuildError):
            build(shared_agent, cut, precision)
    assert set(engines.iterdir()) == before


def test_equal_builds_share_an_engine(shared_agent: AgentClient, model: Path) -> None:
    """A second build with the same request returns the stored engine, whose facts name model and runtime version."""
    first = build(shared_agent, model)
    assert not first.cached
    second = build(shared_agent, model)
    assert second.cached
    assert (second.key, second.digest) == (first.key, first.digest)
    assert first.facts["model"] == shared_agent.put_blob(model)
    assert first.facts["cuda"] is None
    assert first.runtime_version == shared_agent.probe()["runtimes"]["onnxruntime"]


def test_only_engines_built_by_the_store_are_loaded(shared_agent: AgentClient) -> None:
    """A key without a record, and a path instead of a key, are refused."""
    with pytest.raises(EngineBuildError, match="was not built by this store"):
        shared_agent.load("0" * 64, {}, 60)
    with pytest.raises(LabError, match="not an engine key"):
        shared_agent.load("../../etc/passwd", {}, 60)


def test_a_forged_record_is_ignored(shared_agent: AgentClient, model: Path) -> None:
    """A record whose facts do not hash to its key counts as missing."""
    engine = shared_agent.adopt(shared_agent.put_blob(model), "fp32", "onnxruntime", {})
    record = Path(shared_agent.hello["store"]) / "engines" / f"{engine.key}.json"
    record.write_text(record.read_text().replace('"fp32"', '"int8"'))
    with pytest.raises(EngineBuildError, match="was not built"):
        shared_agent.load(engine.key, {}, 60)


def test_a_damaged_engine_is_not_loaded(shared_agent: AgentClient, model: Path) -> None:
    """An engine whose file was damaged in the store is not loaded, since its bytes are hashed again."""
    engine = shared_agent.adopt(shared_agent.put_blob(model), "fp32", "onnxruntime", {})
    (Path(shared_agent.hello["store"]) / "blobs" / engine.digest).write_bytes(b"damage")
    with pytest.raises(LabError, match="was damaged in the store"):
        shared_agent.load(engine.key, {}, 60)
    shared_agent.put_blob(model)
    with shared_agent.load(engine.key, {}, 60, fresh=False) as worker:
        assert worker.run({"x": GOOD})


def test_a_profile_names_the_nodes(shared_worker: EngineWorker, feed: Feed) -> None:
    """The runtime's profiler reports every node with its operator, slowest first."""
    nodes = shared_worker.profile(feed, 20)
    assert {node.op for node in nodes} >= {"MatMul"}
    assert [node.seconds for node in nodes] == sorted((node.seconds for node in nodes), reverse=True)
    assert all(0 < node.seconds < 1 for node in nodes)


@pytest.mark.parametrize("products", [1, 2])
def test_sums_of_8_bit_products_do_not_saturate_unnoticed(
    products: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The largest 8-bit products are exact, or the engine's facts state that their sums may saturate.

    With two products that share a zero point, ONNX Runtime refuses exact sums; the model is loaded all the same.
    """
    path = models.largest_products(tmp_path / "products.onnx", products)
    engine = runtime("onnxruntime").load(str(path), {})
    (output,) = engine.bind({"x": np.full((1, 64), 255.0, np.float32)}).run()
    assert output.shape == (1, 8)
    exact = bool((output == 255.0 * 127 * 64).all())
    assert exact or products == 2
    assert exact is not engine.facts().get("saturating_sums", False)
    assert not capfd.readouterr().err
