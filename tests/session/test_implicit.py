"""The implicit route's audit on what an agent would record; no TensorRT is at hand, so that is written here."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from hil.checks import int8
from hil.checks.int8 import CacheFacts
from hil.errors import Unsupported
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
    """What ``int8.calibration`` says of an engine whose build told ``about``."""
    known = {"calibration": STREAMED.key, "options": {"implicit": STREAMED.option()}, **facts}
    told: dict[str, Any] = {"log": "", "facts": known, "about": {"calibration": about}}
    engine = BuiltEngine("k", "d", 1, 1.0, cached=False, runtime="tensorrt", runtime_version="8.6.0", **told)
    made = Provisioned(engine, cast("Path", None), None, "f", STREAMED)
    return int8.calibration(consumed(made, declared, digest)).verdict


def test_what_was_streamed_and_consumed_passes() -> None:
    """Every declared sample went to the calibrator, byte for byte."""
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
def test_anything_else_fails(about: dict[str, Any]) -> None:
    """No record, nothing consumed, other bytes, another number: never a pass."""
    assert verdict(about) is Verdict.FAILED


def test_the_stream_itself_is_held_against_the_declared_samples() -> None:
    """Data that changed after it was sent is other data."""
    assert verdict(ABOUT, digest="0" * 64) is Verdict.FAILED
    assert verdict(ABOUT, declared=9) is Verdict.FAILED


READ = {**ABOUT, "cache": "read"}


def test_a_cache_that_was_read_stands_for_the_data_of_its_key() -> None:
    """The build that wrote it says what it consumed; under another key or of other blobs it stands for nothing."""
    assert verdict(READ) is Verdict.PASSED
    assert verdict({**READ, "consumed": {}, "samples": 0}) is Verdict.FAILED
    assert verdict({**READ, "consumed": {"x": "0" * 64}}) is Verdict.FAILED
    assert verdict(READ, calibration="0" * 64) is Verdict.FAILED
    assert verdict(READ, options={}) is Verdict.FAILED
    assert verdict(READ, options={"implicit": {**STREAMED.option(), "data": {"x": "0" * 64}}}) is Verdict.FAILED


def test_a_sound_cache_passes() -> None:
    """Written or read, of the right algorithm, with a scale for each input."""
    for used in ("written", "read"):
        assert int8.cache(replace(SOUND, used=used)).verdict is Verdict.PASSED


def test_a_cache_names_the_version_that_wrote_it() -> None:
    """As NvInferVersion.h counts, before and from release 10 on; an unknown version is not held against it."""
    assert header_versions("8.6.0") == ("8600", "80600")
    assert header_versions("10.3.0.26")[1] == "100300"
    assert header_versions("unknown") == header_versions("8.6") == ()
    for versions in ((), header_versions("8.6.0")):
        assert int8.cache(replace(SOUND, header_versions=versions)).verdict is Verdict.PASSED


def test_a_constant_of_zeros_has_a_range_of_zero() -> None:
    """TensorRT lists constants beside what flows; one of zeros calibrates to zero and is no fault."""
    scales = {**SOUND.scales, "(Unnamed Layer* 3) [Constant]_output": [0.0]}
    assert int8.cache(replace(SOUND, scales=scales)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"used": "ignored"}, "neither written nor read"),
        ({"used": "not told"}, "neither written nor read"),
        ({"header": ""}, "begins with no name of an algorithm"),
        ({"header": "TRT-8600-MinMaxCalibration"}, "not EntropyCalibration2"),
        ({"header": "TRT-8600-EntropyCalibration"}, "not EntropyCalibration2"),
        ({"scales": {}}, "no scales"),
        ({"scales": {"x": [float("nan")]}}, "not finite and positive"),
        ({"scales": {"x": [0.0]}}, "not finite and positive"),
        ({"scales": {**SOUND.scales, "(Unnamed Layer* 3) [Constant]_output": [float("inf")]}}, "not finite"),
        ({"scales": {"y": [0.2]}}, "should be quantized and have no range"),
        ({"recomputed": {"model": "n"}}, "of another model"),
        ({"recorded": {}}, "no key"),
        ({"header_versions": ("8601", "80601")}, "another version than the one that built the engine"),
        ({"flowing": ("a", "b", "c", "x")}, "renamed since"),
        ({"in_use": False}, "no layer of the engine computes in INT8"),
    ],
)
def test_a_cache_that_is_not_in_use_fails(change: dict[str, Any], reason: str) -> None:
    """A cache that TensorRT silently ignored fails; TensorRT reports it only in its log."""
    judged = int8.cache(replace(SOUND, **change))
    assert judged.verdict is Verdict.FAILED
    assert reason in judged.reason


@pytest.mark.parametrize("precisions", [("int8",), ("fp32", "int8")])
def test_one_engine_file_is_never_compared_with_itself(precisions: tuple[str, ...], tmp_path: Path) -> None:
    """``int8.drop`` asks for the fp32 engine: a file that is judged as int8 is none."""
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
