"""Our parse and build code, executed with TensorRT-RTX's real parser and builder: strongly typed, as TensorRT 11 is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import api, precision
from hil.agent.runtimes.tensorrt import log as logs
from hil.agent.runtimes.tensorrt.parse import parse
from hil.config.spec import TargetSpec
from hil.errors import EngineBuildError
from hil.targets.target import open_target
from tests.agent import models
from tests.agent.runtimes.tensorrt.rtx import (
    BF16,
    FLOAT,
    FP4,
    FP8,
    HALF,
    INT4,
    INT8,
    as_tensorrt,
    build,
    module,
    needs_rtx,
    quantized,
    typed,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_rtx

PROFILES = {"x": [[1, 64], [4, 64], [8, 64]]}
TINY = {"x": [[1, 4], [2, 4], [8, 4]]}
TYPED = {"fp32": FLOAT, "tf32": FLOAT, "fp16": HALF, "bf16": BF16}
QUANTIZED = {"INT8": INT8, "FP8": FP8, "INT4": INT4, "FP4": FP4}
"""The types to which networks are quantized here, by their name in TensorRT."""


def message(model: Path, asked: str = "fp32", **options: object) -> str:
    """Return the failure of a build, with its advice."""
    with pytest.raises(Failure) as caught:
        build(model, asked, **options)
    return f"{caught.value.message}: {caught.value.advice}"


@pytest.mark.parametrize("asked", TYPED)
def test_each_float_precision_is_built(asked: str, tmp_path: Path) -> None:
    """A network in the requested precision is built; the only flag is TF32, set for every precision except fp32."""
    built = build(typed(tmp_path / "m.onnx", TYPED[asked]), asked, profiles=PROFILES)
    assert (tmp_path / "m.plan").stat().st_size > 1000
    assert ("TF32" in built.facts["flags"]) == (asked != "fp32")
    assert set(built.facts["flags"]) <= {"TF32"}


@pytest.mark.parametrize("kind", QUANTIZED)
def test_each_quantized_type_is_parsed_and_built(kind: str, tmp_path: Path) -> None:
    """Q/DQ nodes of each type are in the parsed network with that type, and the builder makes a plan of them."""
    trt = module()
    journal = logs.of(trt)
    journal.clear()
    builder = trt.Builder(journal)
    path = quantized(tmp_path / "m.onnx", QUANTIZED[kind])
    network = api.network(trt, builder)
    parser = parse(trt, network, journal, str(path))
    content = precision.content_of(trt, network)
    assert kind in content.types
    assert content.dequantize
    config = builder.create_builder_config()
    if kind != "FP4":
        profile = builder.create_optimization_profile()
        profile.set_shape("x", *[tuple(shape) for shape in PROFILES["x"]])
        config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None, journal.errors()
    del parser


@pytest.mark.parametrize("kind", QUANTIZED)
def test_each_quantized_precision_is_built_from_qdq_nodes(kind: str, tmp_path: Path) -> None:
    """A whole build of our code makes an engine of each quantized precision, without any flag for it."""
    options = {} if kind == "FP4" else {"profiles": PROFILES}
    built = build(quantized(tmp_path / "m.onnx", QUANTIZED[kind]), kind.lower(), **options)
    assert (tmp_path / "m.plan").stat().st_size > 1000
    assert not {"INT8", "FP8", "INT4", "FP4"} & set(built.facts["flags"])


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        ("fp16", FLOAT, "computes nothing in fp16"),
        ("bf16", HALF, "computes nothing in bf16"),
        ("fp32", HALF, "computes in HALF"),
        ("int8", FLOAT, "has no Q/DQ layers"),
    ],
)
def test_another_type_than_asked_is_refused(asked: str, kind: int, says: str, tmp_path: Path) -> None:
    """A precision other than that of the file's types is refused before the build, with the reason."""
    assert says in message(typed(tmp_path / "m.onnx", kind), asked, profiles=PROFILES)


@pytest.mark.parametrize("kind", ["FP8", "INT4", "FP4"])
def test_another_quantization_is_not_built_as_int8(kind: str, tmp_path: Path) -> None:
    """A network that is quantized to a type other than int8 is not built as an int8 engine."""
    assert f"quantized to {kind}" in message(quantized(tmp_path / "m.onnx", QUANTIZED[kind]), "int8", profiles=PROFILES)


def test_the_calibrator_is_refused(tmp_path: Path) -> None:
    """A build with a calibrator is refused, and the message names the explicit route."""
    implicit = {"algorithm": "entropy2", "batch": 2, "samples": 4, "data": {"x": "0" * 64}}
    assert "explicit" in message(models.tiny(tmp_path / "m.onnx"), "int8", implicit=implicit, profiles=TINY)


def test_profiles(tmp_path: Path) -> None:
    """An input range is built; a missing range, one that is out of order or does not fit, and an unknown input fail."""
    model = models.tiny(tmp_path / "m.onnx")
    build(model, profiles=TINY)
    assert "no range is set" in message(model)
    assert "min <= opt <= max" in message(model, profiles={"x": [[1, 4], [9, 4], [8, 4]]})
    assert "do not fit input 'x'" in message(model, profiles={"x": [[1, 4], [2, 5], [8, 4]]})
    assert "is not an input" in message(model, profiles={**TINY, "z": [[1], [1], [1]]})


def test_equal_names_with_unequal_sizes_fail_in_the_builder(tmp_path: Path) -> None:
    """Dimensions of one name with different sizes are refused by TensorRT itself; the message has our advice."""
    nodes = [helper.make_node("Relu", ["a"], ["c"]), helper.make_node("Relu", ["b"], ["d"])]
    ends = [helper.make_tensor_value_info(name, FLOAT, ["n", 4]) for name in "abcd"]
    graph = helper.make_graph(nodes, "g", ends[:2], ends[2:])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    text = message(path, profiles={"a": [[1, 4]] * 3, "b": [[2, 4]] * 3})
    assert "TensorRT cannot build the engine" in text
    assert "check shapes in [models.M]" in text


def test_a_build_that_fails_quotes_the_builder(tmp_path: Path) -> None:
    """A product whose sizes do not fit is refused with TensorRT's own lines, not with an empty reason."""
    weights = helper.make_tensor("w", FLOAT, (5, 3), np.zeros(15))
    path = models.write_model(
        tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="odd")], [weights]
    )
    text = message(path, profiles=TINY)
    assert "odd" in text
    assert "gave no reason" not in text


def test_parser_errors_name_node_operator_and_opset(tmp_path: Path) -> None:
    """An unknown operator, a missing external file and bytes that are not a model each have a message and advice."""
    text = message(models.unknown_operator(tmp_path / "m.onnx"), profiles=TINY)
    assert "(opset 13): node 'odd_node' (Frobnicate, opset 13)" in text
    assert "plugins in [models.M.build]" in text
    tiny = onnx.load(models.tiny(tmp_path / "e.onnx"))
    tensor = tiny.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value="nowhere.bin")
    onnx.save(tiny, tmp_path / "e.onnx")
    text = message(tmp_path / "e.onnx", profiles=TINY)
    assert "save the model with its weights" in text
    (tmp_path / "n.onnx").write_bytes(b"\x08\x01 nothing")
    assert "copied whole" in message(tmp_path / "n.onnx", profiles=TINY)


# TensorRT-RTX has the calls of TensorRT's timing cache, and deprecates them, since it needs no such cache.
@pytest.mark.filterwarnings("ignore:.*[Tt]iming cache:DeprecationWarning")
def test_the_timing_cache(tmp_path: Path) -> None:
    """The second build uses the timing cache of the first, unless TensorRT drops it completely."""
    model, paths = models.tiny(tmp_path / "m.onnx"), {"timing_cache": str(tmp_path / "cache")}
    first = build(model, profiles=TINY, paths=paths)
    assert first.facts["timing_cache"] == "cold"
    assert (tmp_path / "cache").exists()
    again = build(model, profiles=TINY, paths=paths)
    dropped = any("will not be used" in line for line in again.facts["warnings"])
    assert again.facts["timing_cache"] == ("refused" if dropped else "warm")


def test_workspace_and_level_are_set(tmp_path: Path) -> None:
    """The workspace limit and the optimization level of the options are set."""
    built = build(models.tiny(tmp_path / "m.onnx"), profiles=TINY, workspace=1 << 24, optimization_level=2)
    assert built.facts["workspace"] == 1 << 24


def test_an_agent_builds_with_it_within_its_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole agent builds through supervisor and worker; a build beyond its time limit is stopped, with advice."""
    as_tensorrt(tmp_path / "module", monkeypatch)
    model = models.tiny(tmp_path / "m.onnx")
    with open_target("bench", TargetSpec(store=str(tmp_path / "store"), runtime="tensorrt")).start_agent() as agent:
        agent.hold("token", "tester")
        digest, _ = agent.put_model(model)
        with pytest.raises(EngineBuildError, match=r"took longer than 0\.01 s and was stopped.*raise time_limit"):
            agent.build(digest, "fp32", "tensorrt", {"profiles": TINY}, 0.01)
        built = agent.build(digest, "fp32", "tensorrt", {"profiles": TINY}, 120.0)
    assert built.size > 1000
    assert built.about["seconds_build"] > 0
