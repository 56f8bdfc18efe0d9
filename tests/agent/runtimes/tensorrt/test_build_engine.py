"""The order of calls in a build and its refusals, with a fake TensorRT module and without a GPU."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import api, digest_file, log
from hil.agent.runtimes.tensorrt.build_engine import build as build_in
from hil.agent.runtimes.tensorrt.open_builder import OpenBuilder
from tests.agent import models
from tests.agent.runtimes.tensorrt.fake import (
    Builder,
    Cuda,
    DataType,
    Layer,
    LayerType,
    StrongFlag,
    Tensor,
    Trt,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hil.agent.runtimes.interface import Built

QDQ = [Layer(LayerType.QUANTIZE), Layer(LayerType.DEQUANTIZE)]
IMPLICIT = {"algorithm": "entropy2", "batch": 2, "samples": 4, "data": {"x": "0" * 64}}


class Strong(Trt):
    """TensorRT as in 11: no flags for precisions, and no calibrators."""

    BuilderFlag = StrongFlag
    IInt8EntropyCalibrator2: Any = None


def build(trt: Trt, folder: Path, precision: str = "fp32", cuda: Cuda | None = None, **options: Any) -> Built:
    """Build a model with a fresh log."""
    model = models.tiny(folder / "m.onnx")
    return build_in(OpenBuilder(trt, cuda or Cuda(), options), str(model), precision, options, str(folder / "out"))


def refusal(trt: Trt, folder: Path, precision: str = "fp32", **options: Any) -> str:
    """Build, which must fail; return kind, message and advice of the failure as one text."""
    with pytest.raises(Failure) as caught:
        build(trt, folder, precision, **options)
    return f"{caught.value.kind}: {caught.value.message}: {caught.value.advice}"


def test_the_plan_and_its_record(tmp_path: Path) -> None:
    """The plan is written in full, the facts list what was set, and plugins are loaded before parsing."""
    trt = Trt()
    trt.messages = [(2, "careful"), (2, "careful"), (3, "hello")]
    built = build(trt, tmp_path, workspace=1 << 20)
    assert (tmp_path / "out").read_bytes() == b"plan"
    assert built.facts["workspace"] == trt.config.workspace == 1 << 20
    assert built.facts["flags"] == []
    assert built.facts["warnings"] == ["careful"]
    assert built.log.splitlines() == ["[W] careful", "[W] careful", "[I] hello"]
    assert trt.calls == ["plugins", "parse", "build"]
    assert trt.config.profiling_verbosity is trt.ProfilingVerbosity["DETAILED"]


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", []), ("tf32", ["TF32"]), ("fp16", ["FP16", "TF32"]), ("int8", ["FP16", "INT8", "TF32"])],
)
def test_flags_of_each_precision(precision: str, flags: list[str], tmp_path: Path) -> None:
    """A build sets exactly its precision's flags: fp32 clears TF32, and int8 allows fp16 for other layers."""
    assert build(Trt(layers=QDQ if precision == "int8" else None), tmp_path, precision).facts["flags"] == flags


@pytest.mark.parametrize("plan", [None, b""])
def test_a_missing_plan_is_a_failure_with_tensorrt_s_errors(plan: bytes | None, tmp_path: Path) -> None:
    """TensorRT reports a failed build by returning nothing; the message quotes its errors and no INFO lines."""
    trt = Trt()
    trt.plan, trt.messages = plan, [(3, "fine"), (1, "Could not find any implementation for node conv1"), (0, "bad")]
    message = refusal(trt, tmp_path, workspace=4096)
    assert "workspace is 4096 bytes): bad | Could not find any implementation for node conv1" in message
    assert "fine" not in message
    assert "raise workspace" in message
    assert not (tmp_path / "out").exists()


def test_errors_of_an_earlier_build_are_dropped(tmp_path: Path) -> None:
    """A failure quotes only errors of its own build."""
    trt = Trt()
    trt.plan, trt.messages = None, [(1, "x" * 9000)]
    assert len(refusal(trt, tmp_path)) < 2500
    log.of(trt).clear()
    trt.messages = []
    assert "TensorRT gave no reason" in refusal(trt, tmp_path)


def test_int8_without_qdq_is_refused(tmp_path: Path) -> None:
    """An int8 build without Q/DQ layers and calibrator is refused."""
    for layers in ([Layer()], QDQ[:1], QDQ[1:]):
        assert "no Q/DQ layers after parsing" in refusal(Trt(layers=layers), tmp_path, "int8")


def test_a_calibrator_with_qdq_layers_is_refused(tmp_path: Path) -> None:
    """A calibrator for a network with Q/DQ layers is refused."""
    assert "ignore the calibrator" in refusal(Trt(layers=QDQ), tmp_path, "int8", implicit=IMPLICIT)
    assert "for int8, not for fp16" in refusal(Trt(), tmp_path, "fp16", implicit=IMPLICIT)


def test_the_implicit_route(tmp_path: Path) -> None:
    """The calibrator reads the data file in the first build and the cache in the second, and all buffers are freed."""
    np.save(tmp_path / "x.npy", np.ones((4, 3), np.float32))
    paths = {"data": {"x": str(tmp_path / "x.npy")}, "calibration_cache": str(tmp_path / "cache")}
    for state, fed in (("written", 2), ("read", 0)):
        trt, cuda = Trt(inputs=[Tensor(shape=(-1, 3))]), Cuda()
        profiles = {"x": [[1, 3], [2, 3], [4, 3]]}
        built = build(trt, tmp_path, "int8", cuda, implicit=IMPLICIT, paths=paths, profiles=profiles)
        assert (built.facts["calibration"]["cache"], built.facts["calibration"]["batches"]) == (state, fed)
        assert trt.config.calibration_profile == {"x": ((2, 3),) * 3}
        assert all(buffer.freed for buffer in cuda.buffers)


def test_bad_data_fails_even_if_a_plan_was_built(tmp_path: Path) -> None:
    """NaN in the data fails the build, although TensorRT returns a plan."""
    np.save(tmp_path / "x.npy", np.full((4, 3), np.nan, np.float32))
    paths = {"data": {"x": str(tmp_path / "x.npy")}}
    assert "NaN" in refusal(Trt(), tmp_path, "int8", implicit=IMPLICIT, paths=paths)
    assert not (tmp_path / "out").exists()


def test_strongly_typed_tensorrt(tmp_path: Path) -> None:
    """On TensorRT 11, a file is built only in the precision of its own types."""
    half = [Layer(output=Tensor(dtype=DataType.HALF))]
    assert build(Strong(layers=half), tmp_path, "fp16").facts["flags"] == ["TF32"]
    assert build(Strong(layers=QDQ), tmp_path, "int8").facts["flags"] == ["TF32"]
    assert "autocast" in refusal(Strong(), tmp_path, "fp16")
    assert "no Q/DQ layers" in refusal(Strong(), tmp_path, "int8")
    assert "computes in HALF" in refusal(Strong(layers=half), tmp_path, "fp32")
    assert "is quantized" in refusal(Strong(layers=QDQ), tmp_path, "fp32")
    message = refusal(Strong(), tmp_path, "int8", implicit=IMPLICIT)
    assert message.startswith("unsupported: this TensorRT has no calibrators")
    assert 'route = "explicit"' in message


class Typed(Trt):
    """TensorRT as in 10: networks are strongly typed on request."""

    NetworkDefinitionCreationFlag = enum.IntEnum(
        "NetworkDefinitionCreationFlag", "EXPLICIT_BATCH STRONGLY_TYPED", start=0
    )


def test_a_strongly_typed_network_by_choice(tmp_path: Path) -> None:
    """With ``strongly_typed``, TensorRT 10 gets no precision flag except TF32; a file without FP16 is refused."""
    half = [Layer(output=Tensor(dtype=DataType.HALF))]
    trt = Typed(layers=half)
    built = build(trt, tmp_path, "fp16", strongly_typed=True)
    assert (built.facts["flags"], built.facts["strongly_typed"], trt.network_flags) == (["TF32"], True, 3)
    assert "computes nothing in fp16" in refusal(Typed(), tmp_path, "fp16", strongly_typed=True)
    weak = Typed(layers=half)
    assert build(weak, tmp_path, "fp16").facts["strongly_typed"] is False
    assert weak.network_flags == 1
    assert "came with 10.0" in refusal(Trt(layers=half), tmp_path, "fp16", strongly_typed=True)


def test_a_calibrator_of_a_strongly_typed_network_is_refused(tmp_path: Path) -> None:
    """On TensorRT 10, a calibrator for a strongly typed network is refused."""
    message = refusal(Typed(), tmp_path, "int8", strongly_typed=True, implicit=IMPLICIT)
    assert "the calibrator would be ignored" in message


@pytest.mark.parametrize(
    ("precision", "kind", "sm"),
    [("fp8", DataType.FP8, "8.9"), ("fp4", DataType.FP4, "10.0"), ("int4", DataType.INT4, "8.7")],
)
def test_brought_precisions(precision: str, kind: DataType, sm: str, tmp_path: Path) -> None:
    """FP8, FP4 and INT4 are built strongly typed; an older GPU or TensorRT, or a file without the type, is refused."""
    layers = [Layer(LayerType.DEQUANTIZE, Tensor(dtype=DataType.FLOAT)), Layer(LayerType.CONSTANT, Tensor(dtype=kind))]
    trt, gpu = Typed(layers=layers), Cuda()
    gpu.sm = sm
    assert build(trt, tmp_path, precision, gpu).facts["strongly_typed"] is True
    assert trt.network_flags == 3
    assert f"has nothing in {precision}" in refusal(Typed(layers=QDQ), tmp_path, precision, cuda=gpu)
    assert "has from 10.0 on" in refusal(Trt(layers=layers), tmp_path, precision, cuda=gpu)
    gpu.sm = "7.2"
    with pytest.raises(Failure, match="needs a GPU of architecture"):
        build(Typed(layers=layers), tmp_path, precision, gpu)


def test_layers_that_only_move_values_do_not_count(tmp_path: Path) -> None:
    """A float32 model with a cast, constant or input in fp16 still counts as float32: only fp32 is built."""
    half = Tensor(dtype=DataType.HALF)
    bearing = Strong(inputs=[half], layers=[Layer(), Layer(LayerType.CAST, half), Layer(LayerType.CONSTANT, half)])
    assert "computes nothing in fp16" in refusal(bearing, tmp_path, "fp16")
    build(bearing, tmp_path, "fp32")


def test_other_quantized_types_are_not_int8(tmp_path: Path) -> None:
    """A network quantized to FP8 or INT4, even if only in its weights, is neither int8 nor float32."""
    eight, four = Tensor(dtype=DataType.FP8), Tensor(dtype=DataType.INT4)
    for kind in (Trt, Strong):
        for layer, name in ((Layer(LayerType.QUANTIZE, eight), "FP8"), (Layer(LayerType.CONSTANT, four), "INT4")):
            message = refusal(kind(layers=[*QDQ, layer]), tmp_path, "int8")
            assert f"the network is quantized to {name}, so it would not run in int8 alone" in message
    for precision in ("fp32", "tf32"):
        assert "is quantized" in refusal(Strong(layers=QDQ[1:]), tmp_path, precision)


def test_dynamic_shapes_need_ranges(tmp_path: Path) -> None:
    """A dynamic input without a range is refused with the line to write; a range that does not fit is refused too."""
    trt = Trt(inputs=[Tensor(shape=(-1, 4))])
    assert 'write shapes = { "n" = [1, 8, 32] } in [models.M]' in refusal(trt, tmp_path)
    build(trt, tmp_path, profiles={"x": [[1, 4], [2, 4], [8, 4]]})
    assert trt.config.profiles == [{"x": ((1, 4), (2, 4), (8, 4))}]
    for wrong in ([[1, 4], [9, 4], [8, 4]], [[1, 4], [2, 5], [8, 4]], [[1, 4], [2, 4]], [[1], [2], [8]]):
        assert "do not fit input 'x'" in refusal(trt, tmp_path, profiles={"x": wrong})
    assert "not an input" in refusal(Trt(), tmp_path, profiles={"z": [[1], [1], [1]]})
    assert "values of input" in refusal(Trt(inputs=[Tensor(is_shape_tensor=True)]), tmp_path)


def test_a_data_dependent_output_gets_a_profile(tmp_path: Path) -> None:
    """A network with a data-dependent output is built with a profile, even if its inputs have fixed shapes."""
    trt = Trt(outputs=[Tensor("y", shape=(2, -1))])
    build(trt, tmp_path)
    assert trt.config.profiles == [{"x": ((2, 3),) * 3}]
    trt = Trt()
    build(trt, tmp_path)
    assert trt.config.profiles == []


def test_optimization_levels(tmp_path: Path) -> None:
    """A builder without optimization levels refuses a requested one."""
    assert "no optimization levels" in refusal(Trt(), tmp_path, optimization_level=3)
    trt = Trt()
    trt.config.builder_optimization_level = None  # type: ignore[attr-defined]  # as later configs have it
    build(trt, tmp_path, optimization_level=5)
    assert trt.config.builder_optimization_level == 5  # type: ignore[attr-defined]  # as above


def test_the_workspace_before_pools() -> None:
    """Before TensorRT 8.4, a workspace of 0 is replaced by 256 MiB unless a size is requested."""

    class Old:
        max_workspace_size = 0

    assert api.set_workspace(None, Old(), None) == 256 << 20
    assert api.set_workspace(None, Old(), 4096) == 4096


def test_dla_refusals_and_facts(tmp_path: Path) -> None:
    """A build for a missing DLA core, an unsupported precision or a failed trial build is refused as unsupported."""

    class WithDla(Builder):
        num_DLA_cores = 2  # noqa: N815 - TensorRT's name

    assert "unsupported: this machine has no DLA" in refusal(Trt(), tmp_path, "fp16", dla=0)
    trt = Trt(layers=[Layer(), Layer()])
    trt.builder_class = WithDla
    built = build(trt, tmp_path, "fp16", dla=1)
    assert built.facts["dla"] == {"core": 1, "eligible": 1, "layers": 2}
    assert "GPU_FALLBACK" in built.facts["flags"]
    assert trt.config.default_device_type is trt.DeviceType["DLA"]
    assert "none of the network's 2 layers" in refusal(trt, tmp_path, "fp16", dla=1)
    assert "requested, the machine has 2" in refusal(trt, tmp_path, "fp16", dla=2)
    assert "fp16 and int8, not in fp32" in refusal(trt, tmp_path, "fp32", dla=0)
    trt.config.dla_layers, trt.plan, trt.messages = 2, None, [(1, "DLA_STANDALONE: compiler library is missing")]
    assert "unsupported: a trial build for the DLA failed" in refusal(trt, tmp_path, "fp16", dla=0)


def test_a_gpu_without_a_fast_precision_is_refused(tmp_path: Path) -> None:
    """A precision for which the GPU is not fast is refused, and so is bf16 if the builder has no flag for it."""

    class Slow(Builder):
        platform_has_fast_fp16 = platform_has_fast_int8 = platform_has_tf32 = False

    trt = Trt(layers=QDQ)
    trt.builder_class = Slow
    for precision in ("fp16", "int8", "tf32"):
        assert f"no fast {precision}" in refusal(trt, tmp_path, precision)
    assert "no bf16" in refusal(Trt(), tmp_path, "bf16")
    cuda = Cuda()
    cuda.sm = "7.2"
    with pytest.raises(Failure, match=r"8\.0 or newer, this one is 7\.2"):
        build(Trt(), tmp_path, "tf32", cuda)


def test_the_timing_cache_is_stored_or_refused(tmp_path: Path) -> None:
    """The first build stores a timing cache, the second uses it; an unusable cache is reported and replaced."""
    path = tmp_path / "timing"
    states = [build(Trt(), tmp_path, paths={"timing_cache": str(path)}).facts["timing_cache"] for _ in range(2)]
    assert states == ["cold", "warm"]
    for content in (b"junk", b"other gpu"):
        digest_file.write(str(path), content)
        assert build(Trt(), tmp_path, paths={"timing_cache": str(path)}).facts["timing_cache"] == "refused"
        assert build(Trt(), tmp_path, paths={"timing_cache": str(path)}).facts["timing_cache"] == "warm"
    path.write_bytes(path.read_bytes()[:-1])
    assert build(Trt(), tmp_path, paths={"timing_cache": str(path)}).facts["timing_cache"] == "refused"
    assert build(Trt(), tmp_path).facts["timing_cache"] == "none"


def test_a_partly_accepted_timing_cache_is_reported(tmp_path: Path) -> None:
    """If TensorRT uses only a part of the cache, the state is ``partly`` and TensorRT's error is quoted."""
    path = tmp_path / "timing"
    build(Trt(), tmp_path, paths={"timing_cache": str(path)})
    trt = Trt()
    original = trt.config.set_timing_cache

    def set_timing_cache(cache: Any, ignore_mismatch: bool) -> bool:
        log.of(trt).log(1, "The timing cache will not be used!")
        return original(cache, ignore_mismatch)

    trt.config.set_timing_cache = set_timing_cache  # type: ignore[method-assign]  # it has no words of its own
    facts = build(trt, tmp_path, paths={"timing_cache": str(path)}).facts
    assert facts["timing_cache"] == "partly"
    assert facts["warnings"] == ["the timing cache was accepted in part: The timing cache will not be used!"]
