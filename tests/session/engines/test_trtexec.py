from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.session.engines.trtexec import equivalent

VERSIONS = ("8.2.1", "8.4.1", "8.5.2", "8.6.2", "10.3.0", "10.13.3", "10.16.2", "11.0.0", "11.1.0")
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
MIB = 2**20
OPTIONS: dict[str, Any] = {
    "workspace": 256 * MIB,
    "optimization_level": 3,
    "profiles": {"x": [[1, 3], [2, 3], [4, 3]]},
    "plugins": ["libx.so"],
    "dla": 0,
    "gpu": 1,
    "cuda_graph": True,
    "streams": 4,
}


def build_command(precision: str = "fp32", version: str | None = "10.3.0", **options: Any) -> tuple[str, ...]:
    """Return the command that builds the engine."""
    return equivalent("model.onnx", precision, options, version).command


def differences(precision: str = "fp32", version: str | None = "10.3.0", **options: Any) -> str:
    """Return how the command's build and timing differ from our own, as one text."""
    return "\n".join(equivalent("model.onnx", precision, options, version).differences)


@pytest.mark.parametrize(
    ("precision", "version", "flags"),
    [
        ("fp32", "8.2.1", {"--noTF32"}),
        ("tf32", "8.2.1", set()),
        ("fp16", "8.6.2", {"--fp16"}),
        ("bf16", "10.3.0", {"--bf16"}),
        ("int8", "10.3.0", {"--int8", "--fp16"}),
        ("fp32", "11.1.0", {"--noTF32"}),
        ("fp16", "11.1.0", set()),
        ("int8", "11.1.0", set()),
    ],
)
def test_a_precision_is_a_flag_before_tensorrt_11(precision: str, version: str, flags: set[str]) -> None:
    """TensorRT 11 has no precision flags: the file's types are used, which is reported."""
    given_flags = set(build_command(precision, version)) & {"--noTF32", "--fp16", "--bf16", "--int8"}
    assert given_flags == flags
    assert ("which must be in" in differences(precision, version)) is (version[:2] == "11" and precision != "fp32")


@pytest.mark.parametrize("version", VERSIONS)
def test_flags_follow_the_release(version: str) -> None:
    """Each release gets its own flags for workspace, skipped inference, plugins, level and streams."""
    made = equivalent("model.onnx", "fp16", OPTIONS, version)
    release = tuple(int(part) for part in version.split(".")[:2])
    build, timing = set(made.command), set(made.timing)
    assert ("--memPoolSize=workspace:256" in build) is (release >= (8, 4))
    assert ("--workspace=256" in build) is (release < (8, 4))
    assert ("--skipInference" in build) is (release >= (8, 6))
    assert ("--buildOnly" in build) is (release < (8, 6))
    assert ("--builderOptimizationLevel=3" in build) is (release >= (8, 6))
    for flags in (build, timing):
        assert ("--staticPlugins=libx.so" in flags) is (release >= (8, 6))
        assert ("--plugins=libx.so" in flags) is (release < (8, 6))
        assert {"--useDLACore=0", "--device=1"} <= flags
    assert ("--infStreams=4" in timing) is (release >= (8, 6))
    assert ("--streams=4" in timing) is (release < (8, 6))
    assert ("--percentile=50,90,99" in timing) is (release >= (8, 5))
    assert {"--minShapes=x:1x3", "--optShapes=x:2x3", "--maxShapes=x:4x3", "--allowGPUFallback"} <= build
    assert {"--shapes=x:2x3", "--useCudaGraph"} <= timing


@pytest.mark.parametrize("options", [{}, {"implicit": {}}])
def test_random_ranges_are_reported(options: dict[str, Any]) -> None:
    """``trtexec --int8`` without a cache uses random ranges, which is reported."""
    assert "RANDOM" in differences("int8", **options)
    assert "RANDOM" not in differences("int8", calibration="key")
    assert "RANDOM" not in differences("fp16", **options)


def test_differences_are_always_reported() -> None:
    """Differences of transfers, waiting, CUDA graph, percentiles and inputs are reported."""
    for subject in ("transfers", "--useSpinWait", "CUDA graph", "percentile", "--loadInputs"):
        assert subject in differences()


@pytest.mark.parametrize("version", [None, "", "unknown", "99.1"])
def test_an_unknown_release_is_reported(version: str | None) -> None:
    """For an unknown TensorRT release, the output states which release's flags the command has."""
    assert "flags are those of" in differences(version=version)


def test_a_fractional_workspace() -> None:
    """Newer releases get the fraction of a MiB; older ones get whole MiB, which is reported."""
    assert "--memPoolSize=workspace:1.5" in build_command(workspace=3 * MIB // 2)
    assert "--workspace=1" in build_command(version="8.2.1", workspace=3 * MIB // 2)
    assert "a workspace of 1.5 MiB" in differences(version="8.2.1", workspace=3 * MIB // 2)


@settings(max_examples=50)
@given(st.text(min_size=1), st.sampled_from(PRECISIONS), st.sampled_from(VERSIONS))
def test_the_command_survives_a_shell(name: str, precision: str, version: str) -> None:
    """The printed command splits into the same arguments, whatever the file and inputs are called."""
    made = equivalent(f"{name}.onnx", precision, {**OPTIONS, "profiles": {name: [[1], [1], [1]]}}, version)
    assert tuple(shlex.split(str(made))) == made.command
