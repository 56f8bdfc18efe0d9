"""The audit of the implicit route; the agent's records are written here, because this machine has no TensorRT."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from onnx import parser

from hil.checks import int8
from hil.checks.int8 import CacheFacts
from hil.errors import Unsupported
from hil.quantize.ranges import computed_tensors, zero_constants
from hil.results import Verdict
from hil.session.engines.implicit_calibration import Streamed, header_versions
from hil.session.engines.provision import Provisioned, provision
from hil.session.gather.int8 import consumed
from hil.targets.answers import BuiltEngine

if TYPE_CHECKING:
    from pathlib import Path

STREAMED = Streamed(
    key="k" * 64,
    parts={"route": "implicit"},
    algorithm="entropy2",
    batch=4,
    samples=8,
    samples_digest="s" * 64,
    data={"x": "b" * 64},
    fed={"x": "f" * 64},
    synthetic=False,
)
ABOUT = {"cache": "written", "samples": 8, "consumed": {"x": "f" * 64}}
SOUND = CacheFacts(
    recorded={"model": "m"},
    recomputed={"model": "m"},
    scales={"x": [0.1], "y": [0.2]},
    quantizable=("x",),
    used="written",
    header="TRT-8600-EntropyCalibration2",
    expected_header="EntropyCalibration2",
)


def verdict(about: dict[str, Any], *, declared: int = 8, digest: str = "s" * 64, **facts: Any) -> Verdict:
    """Return the verdict of ``int8.calibration`` for an engine whose build recorded ``about``."""
    facts = {"calibration": STREAMED.key, "options": {"implicit": STREAMED.option()}, **facts}
    record: dict[str, Any] = {"log": "", "facts": facts, "about": {"calibration": about}}
    engine = BuiltEngine("k", "d", 1, 1.0, cached=False, runtime="tensorrt", runtime_version="8.6.0", **record)
    provisioned = Provisioned(engine, cast("Path", None), None, "f", STREAMED)
    return int8.calibration(consumed(provisioned, declared, digest)).verdict


def test_fully_consumed_samples_pass() -> None:
    """A build that consumed every declared sample byte for byte passes."""
    assert verdict(ABOUT) is Verdict.PASSED


@pytest.mark.parametrize(
    "about",
    [
        {},
        {**ABOUT, "consumed": {}},
        {**ABOUT, "consumed": {"x": "0" * 64}},
        {**ABOUT, "consumed": {"x": "f" * 64, "y": "f" * 64}},
        {**ABOUT, "samples": 7},
        {**ABOUT, "samples": 0},
        {**ABOUT, "cache": "ignored", "consumed": {}, "samples": 0},
    ],
)
def test_an_incomplete_consumption_record_fails(about: dict[str, Any]) -> None:
    """A missing record, other bytes or another number of samples fails."""
    assert verdict(about) is Verdict.FAILED


def test_streamed_samples_must_be_the_declared_ones() -> None:
    """Data that changed after it was streamed fails."""
    assert verdict(ABOUT, digest="0" * 64) is Verdict.FAILED
    assert verdict(ABOUT, declared=9) is Verdict.FAILED


READ = {**ABOUT, "cache": "read"}


def test_a_cache_that_was_read_counts_by_its_key() -> None:
    """A cache that was read passes by the record of the build that wrote it; another key or other blobs fail."""
    assert verdict(READ) is Verdict.PASSED
    assert verdict({**READ, "consumed": {}, "samples": 0}) is Verdict.FAILED
    assert verdict({**READ, "consumed": {"x": "0" * 64}}) is Verdict.FAILED
    assert verdict(READ, calibration="0" * 64) is Verdict.FAILED
    assert verdict(READ, options={}) is Verdict.FAILED
    assert verdict(READ, options={"implicit": {**STREAMED.option(), "data": {"x": "0" * 64}}}) is Verdict.FAILED


def test_a_sound_cache_passes() -> None:
    """A cache of the right algorithm with a scale for each input passes, whether written or read."""
    for used in ("written", "read"):
        assert int8.cache(replace(SOUND, used=used)).verdict is Verdict.PASSED


def test_a_cache_header_names_the_tensorrt_version() -> None:
    """The first line of a cache must have the version of TensorRT; for an unknown version, any number passes."""
    assert header_versions("8.6.0") == ("8600", "80600")
    assert header_versions("10.3.0.26")[1] == "100300"
    assert header_versions("unknown") == header_versions("8.6") == ()
    for versions in ((), header_versions("8.6.0")):
        assert int8.cache(replace(SOUND, header_versions=versions)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    "name", ["(Unnamed Layer* 3) [Constant]_output", "(Unnamed Layer* 173) [Shuffle]_output", "features.11.fc1.bias"]
)
def test_a_constant_of_zeros_may_have_a_zero_scale(name: str) -> None:
    """A constant of zeros may have a scale of zero, also under the names that TensorRT gives to constants."""
    scales = {**SOUND.scales, name: [0.0]}
    assert int8.cache(replace(SOUND, scales=scales, zeros={"features.11.fc1.bias"})).verdict is Verdict.PASSED


def test_an_activation_of_zeros_is_warned() -> None:
    """An activation that was 0 in every calibration sample has the scale 0 in TensorRT's cache, and is named."""
    judgement = int8.cache(replace(SOUND, scales={**SOUND.scales, "relu": [0.0]}, computed={"relu", "y"}))
    assert judgement.verdict is Verdict.WARNED
    assert "relu were 0 in every calibration sample" in judgement.reason
    assert judgement.details["silent"] == ["relu"]


def test_constants_of_zeros_are_read_from_the_model(tmp_path: Path) -> None:
    """Constants of zeros are found in initializers and nodes; only the outputs of other nodes count as computed."""
    model = parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        g (float[2] x) => (float[2] y) <float[2] bias = {0, 0}, float[2] some = {0, 1}> {
            none = Constant <value = float[2] {0, 0}> ()
            a = Add (x, bias)
            b = Add (a, none)
            y = Add (b, some)
        }""")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert zero_constants(tmp_path / "m.onnx") == {"bias", "none"}
    assert computed_tensors(tmp_path / "m.onnx") == {"a", "b", "y"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"used": "ignored"}, "neither written nor read"),
        ({"used": "not reported"}, "neither written nor read"),
        ({"header": ""}, "begins with no name of an algorithm"),
        ({"header": "TRT-8600-MinMaxCalibration"}, "not EntropyCalibration2"),
        ({"header": "TRT-8600-EntropyCalibration"}, "not EntropyCalibration2"),
        ({"scales": {}}, "no scales"),
        ({"scales": {"x": [float("nan")]}}, "not finite and positive"),
        ({"scales": {"x": [0.0]}}, "not finite and positive"),
        ({"scales": {**SOUND.scales, "other.bias": [0.0]}, "zeros": {"bias"}}, "scales of other.bias are zero"),
        ({"scales": {**SOUND.scales, "y": [1e-40]}, "computed": {"y"}}, "practically zero"),
        ({"scales": {**SOUND.scales, "(Unnamed Layer* 3) [Constant]_output": [float("inf")]}}, "not finite"),
        ({"scales": {"y": [0.2]}}, "should be quantized but have no range"),
        ({"recomputed": {"model": "n"}}, "of another model"),
        ({"recorded": {}}, "no key"),
        ({"header_versions": ("8601", "80601")}, "not the version that built the engine"),
        ({"flowing": ("a", "b", "c", "x")}, "renamed since"),
        ({"in_use": False}, "no layer of the engine computes in INT8"),
    ],
)
def test_a_cache_that_is_not_in_use_fails(change: dict[str, Any], reason: str) -> None:
    """A cache that was ignored, or has a wrong header, key, name or scale, fails with the reason."""
    judgement = int8.cache(replace(SOUND, **change))
    assert judgement.verdict is Verdict.FAILED
    assert reason in judgement.reason


@pytest.mark.parametrize("precisions", [("int8",), ("fp32", "int8")])
def test_a_foreign_int8_engine_is_not_used_as_fp32(precisions: tuple[str, ...], tmp_path: Path) -> None:
    """A configured engine file judged as int8 is not provisioned as the fp32 engine."""
    spec = SimpleNamespace(path="m.onnx", engine="x.plan", precisions=precisions)
    session = SimpleNamespace(
        model=lambda _: spec,
        config=SimpleNamespace(resolve=lambda path: tmp_path / path),
        sources=SimpleNamespace(watch=lambda _: None),
        spec=SimpleNamespace(runtime="tensorrt"),
        used="t",
    )
    with pytest.raises(Unsupported, match="there is no fp32 engine of model m"):
        provision(cast("Any", session), "m", "fp32")
