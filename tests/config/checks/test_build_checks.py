from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """\
[models.a]
path = "model.onnx"
data = "synthetic"
"""
CALIBRATED = 'precisions = ["fp16", "int8"]\n[models.a.calibration]\ndata = "synthetic"\n'


def write(folder: Path, text: str) -> Path:
    """Write ``hil.toml`` and the files that it names into one folder."""
    for name in ("model.onnx", "libx.so", "x.plan"):
        (folder / name).touch()
    path = folder / "hil.toml"
    path.write_text(MODEL + text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('build.workspace = "0 B"', "hil.toml:4: models.a.build.workspace: must be at least 1 byte"),
        ('build.time_limit = "0 s"', "hil.toml:4: models.a.build.time_limit: must be more than 0"),
        ('build.plugins = ["liby.so"]', "no such plugin library: "),
        ('build.plugins = ["liby.so"]', "did you mean 'libx.so'?"),
        ('build.plugins = ["libx.so", "libx.so"]', "the same plugin library is listed twice"),
        ('on.cpu.build.plugins = ["liby.so"]', "models.a.on.cpu.build.plugins: no such plugin library"),
        ('on.cpu.engine = "y.plan"', "models.a.on.cpu.engine: no such file"),
        ("build.dla = 0", "models.a.build.dla: a DLA computes in fp16 and int8, but fp32 is listed in precisions"),
        ("on.cpu.build.dla = 1", "models.a.on.cpu.build.dla: a DLA computes in fp16 and int8"),
        (
            'engine = "x.plan"\nprecisions = ["fp16", "fp32"]',
            "an engine file has one precision, but precisions lists fp16, fp32",
        ),
        ('on.cpu.engine = "x.plan"\nprecisions = ["fp16", "tf32"]', "models.a.on.cpu.engine: an engine file has one"),
        ("limits.int8_layers = 80", "8000 % is more than 100 %: write e.g. '80 %'"),
        ('precisions = ["int8"]\non.cpu.engine = "x.plan"', "models.a.precisions: int8 needs the table"),
        ('on.cpu.engine = "x.plan"\non.gpu.precisions = ["int8"]', "models.a.on.gpu.precisions: int8 needs the table"),
        ("build.dla = -1", "must be at least 0: got -1"),
        ("build.dal = 0", "unknown key: did you mean 'dla'?"),
        ("run.streams = 0", "must be at least 1: got 0"),
        (f'{CALIBRATED}route = "implicit"\nmethod = "percentile"', "TensorRT has no percentile calibrator"),
        (f'{CALIBRATED}route = "implicit"\nexclude_nodes = ["x"]', "cannot exclude nodes"),
    ],
)
def test_an_impossible_setting_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """An impossible setting is reported with its line when the config is loaded."""
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text + "\n"))
    assert message in str(caught.value)


def test_a_mistake_of_the_model_is_reported_once(tmp_path: Path) -> None:
    """A mistake that a target inherits from the model is reported once."""
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, 'build.workspace = "0 B"\non.cpu.build.optimization_level = 3\n'))
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "text",
    [
        "run = { cuda_graph = true, streams = 4 }",
        'build = { plugins = ["libx.so"], workspace = "1 GiB", optimization_level = 5 }',
        'precisions = ["fp16"]\nbuild.dla = 0\nlimits.dla_fallback = 0',
        'on.cpu = { build = { dla = 0 }, precisions = ["fp16"] }',
        f'{CALIBRATED}route = "implicit"\n[models.a.limits]\nint8_layers = "80 %"',
        'engine = "x.plan"\nprecisions = ["fp16"]',
        'engine = "x.plan"\nprecisions = ["int8"]',
        'on.cpu = { engine = "x.plan", precisions = ["int8"] }',
    ],
)
def test_a_supported_setting_is_accepted(tmp_path: Path, text: str) -> None:
    """Settings that TensorRT supports are accepted."""
    assert not [one for one in load(write(tmp_path, text + "\n")).warnings if "on.cpu" not in one]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('limits.int8_layers = "80 %"', "int8_layers: no precisions list of this model contains int8"),
        ("limits.dla_fallback = 0", "dla_fallback: no engine of this model is built for a DLA"),
        ("on.cpu.limits.dla_fallback = 0", "on.cpu.limits.dla_fallback: no engine"),
    ],
)
def test_a_limit_without_an_engine_is_a_warning(tmp_path: Path, text: str, key: str) -> None:
    """A limit on INT8 layers or DLA fallback that no engine can meet is a warning."""
    (warning,) = load(write(tmp_path, text + "\n")).warnings
    assert key in warning
