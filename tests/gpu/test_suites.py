"""The product end to end on a real GPU, on networks so small that building an engine takes seconds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from hil.checks import int8
from hil.checks.int8 import _faults
from hil.errors import EngineError, Unsupported
from hil.plan import expand
from hil.results import Verdict
from hil.session.gather.int8 import _implicit_cache
from tests import models
from tests.gpu.board import images

if TYPE_CHECKING:
    from pathlib import Path

    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient
    from tests.gpu.board import Board

DEADLINE = 300.0
INT8 = """
[models.explicit]
path = "net.onnx"
data = "validation.npz"
precisions = ["int8"]
calibration = { data = "calibration.npz", route = "explicit" }
tolerances.int8 = { slice_error = 0.9, max_rel = 0.5, cosine = 0.9, sqnr_db = 6, reason = "tiny" }

[models.implicit]
path = "net.onnx"
data = "validation.npz"
precisions = ["int8"]
calibration = { data = "calibration.npz", route = "implicit" }
tolerances.int8 = { slice_error = 0.9, max_rel = 0.5, cosine = 0.9, sqnr_db = 6, reason = "tiny" }
"""
THREE = """
[models.three]
path = "net.onnx"
data = "validation.npz"
precisions = ["fp32", "tf32", "fp16"]
build.optimization_level = 2
"""
"""At an optimization level that no other test uses, so these engines are not in the store yet."""


def built(agent: AgentClient, path: Path, precision: str = "fp32", **options: Any) -> BuiltEngine:
    """Return an engine of the model at ``path``."""
    return agent.build(agent.put_blob(path), precision, "tensorrt", options, DEADLINE)


def outputs(
    agent: AgentClient, engine: BuiltEngine, feed: dict[str, np.ndarray], **options: Any
) -> dict[str, np.ndarray]:
    """Return the outputs of one run on a worker loaded with ``options``."""
    with agent.load(engine.key, options, DEADLINE) as worker:
        return dict(worker.run(feed))


def expected(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return ONNX Runtime's outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays: list[np.ndarray] = session.run(None, feed)
    return arrays


def test_report_has_evidence_device(board: Board, gpu_agent: AgentClient) -> None:
    """Rows that the GPU executed have evidence ``device`` with GPU and SM; the row of the data has ``host``."""
    gpu = gpu_agent.probe()["facts"]["tensorrt"]
    gpu_agent.close()
    board.write(INT8, board=f"board = {json.dumps(gpu['gpu'])}\n")
    command = [sys.executable, "-m", "pytest", "--pyargs", "hil.suites", "--target=gpu", "--hil-fallback=fail"]
    subprocess.run([*command, "-q", "-p", "no:cacheprovider"], cwd=board.root, env=dict(os.environ), check=False)
    report = json.loads((board.root / "report" / "report.json").read_text(encoding="utf-8"))
    parity = [row for row in report["checks"] if row["id"] == "parity.outputs"]
    assert {(row["model"], row["verdict"], row["evidence"]) for row in parity} == {
        (name, "passed", "device") for name in ("net", "explicit", "implicit")
    }
    assert {(row["executed_on"]["name"], row["executed_on"]["sm"]) for row in parity} == {(gpu["gpu"], gpu["sm"])}
    (data, *_) = [row for row in report["checks"] if row["id"] == "parity.data"]
    assert data["evidence"] == "host"


@pytest.mark.parametrize("route", ["explicit", "implicit"])
def test_int8_runs_in_int8(board: Board, route: str) -> None:
    """Either route is calibrated on the declared data; an engine without any INT8 layer does not pass as INT8."""
    session = board.session(INT8)
    for check in ("parity.outputs", "int8.calibration"):
        result = board.ask(session, check, route, "int8")
        assert result.verdict is Verdict.PASSED, result.reason
    with session.engines.lease(route, "int8") as worker:
        layers = worker.layers()
    assert layers
    in_use = any("int8" in (*layer["inputs"], *layer["outputs"]) for layer in layers)
    assert in_use or route == "implicit"
    result = board.ask(session, "int8.cache", route, "int8")
    assert result.verdict is (Verdict.PASSED if in_use else Verdict.FAILED), result.reason


@pytest.mark.parametrize("route", ["explicit", "implicit"])
def test_the_audit_reads_the_ranges_of_either_route(board: Board, route: str) -> None:
    """The audit of either route names tensors as the model does, and a second calibration gives the same ranges."""
    session = board.session(INT8)
    ranges = board.ask(session, "int8.ranges", route, "int8")
    assert ranges.verdict in (Verdict.PASSED, Verdict.FAILED), ranges.reason
    assert {tensor["name"] for tensor in ranges.details["tensors"]} >= {"image"}
    repeated = board.ask(session, "int8.repeatable", route, "int8")
    assert repeated.verdict is Verdict.PASSED, repeated.reason
    calibrated = board.ask(session, "int8.calibration_set", route, "int8")
    assert calibrated.verdict is not Verdict.INCONCLUSIVE, calibrated.reason


@pytest.mark.parametrize("fault", ["renamed", "of another version", "cut short", "a scale of zero"])
def test_a_fault_in_a_real_cache_is_named(board: Board, fault: str) -> None:
    """If the facts read from a cache of TensorRT's have a fault, ``int8.cache`` fails and names the fault."""
    session = board.session(INT8)
    engine = session.engines.provisioned("implicit", "int8")
    rows = expand(session.config, "gpu").rows
    row = next(row for row in rows if (row.id, row.model) == ("int8.cache", "implicit"))
    facts = _implicit_cache(session, row, engine)
    assert not list(_faults(replace(facts, in_use=None), [])), "healthy as TensorRT wrote it"
    spoiled, words = {
        "renamed": ({"scales": {f"old/{name}": entry for name, entry in facts.scales.items()}}, "renamed|should be"),
        "of another version": ({"header": "TRT-7103-EntropyCalibration2"}, "another version"),
        "cut short": ({"scales": {}}, "no scales"),
        "a scale of zero": ({"scales": {**facts.scales, "image": [0.0]}}, "zero"),
    }[fault]
    judgement = int8.cache(replace(facts, **spoiled))  # type: ignore[arg-type]  # a dict of changes is looser than the fields
    assert judgement.verdict is Verdict.FAILED
    assert re.search(words, judgement.reason), judgement.reason


def test_a_repeated_build_reads_the_calibration_cache(board: Board) -> None:
    """A repeated build reads the calibration cache that the first one wrote, and records it."""
    session = board.session(INT8)
    first = session.engines.provisioned("implicit", "int8").engine
    board.close()  # it holds the target
    (board.store / "engines" / f"{first.key}.json").unlink()
    second = board.session(INT8).engines.provisioned("implicit", "int8").engine
    assert not second.cached
    assert second.about["calibration"]["cache"] == "read"
    assert second.about["calibration"]["scales"] == first.about["calibration"]["scales"]


def test_a_repeated_build_uses_the_timing_cache(board: Board, gpu_agent: AgentClient) -> None:
    """A repeated build starts with the first one's timing cache, and records it."""
    first = built(gpu_agent, board.root / "net.onnx")
    (board.store / "engines" / f"{first.key}.json").unlink()
    second = built(gpu_agent, board.root / "net.onnx")
    assert not second.cached
    assert second.about["timing_cache"] in {
        "warm",
        "partly",
    }  # 8.6.0 logs an error about Myelin's part and uses the rest
    assert second.about["seconds_build"] < first.about["seconds_build"]


def test_precisions_are_built_in_one_process(board: Board) -> None:
    """TensorRT's builder is loaded once for all precisions, and each engine has the right flags and outputs."""
    session = board.session(THREE)
    precisions = ("fp32", "tf32", "fp16")
    built = [session.engines.provisioned("three", name, more=name != "fp16").engine for name in precisions]
    assert [engine.about["process"] for engine in built] == ["fresh", "kept", "kept"]
    assert built[0].about["seconds_builder"] > 0
    assert [engine.about["seconds_builder"] for engine in built[1:]] == [0, 0]
    assert ["FP16" in engine.about["flags"] for engine in built] == [False, False, True]
    for precision in precisions:
        result = board.ask(session, "parity.outputs", "three", precision)
        assert result.verdict is Verdict.PASSED, result.reason


def test_foreign_engine_is_judged_and_labelled(board: Board, gpu_agent: AgentClient) -> None:
    """An engine built elsewhere is judged like one that hil built, and labelled as foreign."""
    gpu_agent.get_blob(built(gpu_agent, board.root / "net.onnx").digest, board.root / "x.plan")
    gpu_agent.close()
    session = board.session('[models.other]\npath = "net.onnx"\ndata = "validation.npz"\nengine = "x.plan"\n')
    assert board.ask(session, "parity.outputs", "other").verdict is Verdict.PASSED
    assert session.engines.provisioned("other", "fp32").foreign


def variants() -> list[dict[str, Any]]:
    """Return options that may change how an engine runs, and must not change its outputs."""
    return [
        {"io": "bindings"},
        {"cuda": "ctypes"},
        {"cuda": "pycuda"},
        {"cuda": "ctypes", "cuda_graph": True},
        {"cuda": "pycuda", "cuda_graph": True},
        {"streams": 4},
    ]


def test_all_ways_to_run_give_the_same_bits(board: Board, gpu_agent: AgentClient) -> None:
    """The outputs are equal bit for bit for all ways to run the engine, such as bindings, names and CUDA graphs."""
    engine = built(gpu_agent, board.root / "net.onnx")
    feed = {"image": images(1, 9)}
    plain = outputs(gpu_agent, engine, feed)
    np.testing.assert_allclose(plain["logits"], expected(board.root / "net.onnx", feed)[0], rtol=1e-4, atol=1e-5)
    for options in variants():
        with contextlib.suppress(Unsupported) if options == {"io": "bindings"} else contextlib.nullcontext():
            result = outputs(gpu_agent, engine, feed, **options)  # TensorRT 10 has no bindings
            np.testing.assert_array_equal(result["logits"], plain["logits"], err_msg=str(options))


def test_dynamic_shapes_run_within_their_profile(board: Board, gpu_agent: AgentClient) -> None:
    """Each batch size in the profile gives correct outputs, with and without a CUDA graph; a larger one is refused."""
    path = models.convnet(board.root / "dynamic.onnx")
    engine = built(gpu_agent, path, profiles={"image": [[1, 2, 6, 6], [2, 2, 6, 6], [8, 2, 6, 6]]})
    for graph in (False, True):
        with gpu_agent.load(engine.key, {"cuda_graph": graph}, DEADLINE) as worker:
            for count in (1, 8, 2, 1):
                feed = {"image": images(count, count)}
                ((_, logits),) = worker.run(feed)
                np.testing.assert_allclose(logits, expected(path, feed)[0], rtol=1e-4, atol=1e-5)
            with pytest.raises(EngineError, match="1 to 8"):
                worker.run({"image": images(9, 9)})


def test_output_whose_shape_depends_on_the_data(board: Board, gpu_agent: AgentClient) -> None:
    """An output whose size depends on the data has the right size and values in each run of the same worker."""
    path = board.root / "nonzero.onnx"
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], name="nonzero"),
        helper.make_node("Cast", ["places"], ["y"], name="as_float", to=TensorProto.FLOAT),
    ]
    models.write(path, nodes, {"x": [1, 100]}, {"y": [2, "found"]})
    engine = built(gpu_agent, path)
    with gpu_agent.load(engine.key, {}, DEADLINE) as worker:
        for count in (3, 100, 1, 40):
            x = np.zeros((1, 100), np.float32)
            x[0, :count] = 1
            ((_, places),) = worker.run({"x": x})
            np.testing.assert_array_equal(places, expected(path, {"x": x})[0])


def test_int64_ids_are_narrowed_exactly(board: Board) -> None:
    """Token ids stay int64 for the user; a value that TensorRT's int32 cannot represent is refused."""
    path, table = board.root / "ids.onnx", np.random.default_rng(0).normal(0, 1, (50, 8)).astype(np.float32)
    end = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 16])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 8])
    node = helper.make_node("Gather", ["table", "ids"], ["y"], name="embed")
    graph = helper.make_graph([node], "ids", [end], [out], [helper.make_tensor("table", 1, table.shape, table.ravel())])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    np.savez(board.root / "ids.npz", ids=np.random.default_rng(1).integers(0, 50, (20, 16)))
    session = board.session('[models.ids]\npath = "ids.onnx"\ndata = "ids.npz"\n')
    result = board.ask(session, "parity.outputs", "ids")
    assert result.verdict is Verdict.PASSED, result.reason
    with (
        session.engines.lease("ids", "fp32") as worker,
        pytest.raises(EngineError, match="int32"),
    ):
        worker.run({"ids": np.full((1, 16), 1 << 40, np.int64)})
