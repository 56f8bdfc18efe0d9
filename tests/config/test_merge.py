"""``[models.NAME.on.TARGET]``: the keys of an override replace the model's; all others stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.config.merge import limits_of
from tests.config.example import EXAMPLE, project

if TYPE_CHECKING:
    from pathlib import Path

ON = """
[models.digits.on.jetson-orin]
precisions = ["fp16"]
[models.digits.on.jetson-orin.limits]
latency = { p99 = "9 ms" }
[models.digits.on.jetson-orin.tolerances.int8]
cosine = 0.5
[models.digits.on.jetson-orin.tolerances.int8.outputs.logits]
max_abs = 1
[models.digits.on.jetson-orin.tolerances.fp16]
rmse = 2
"""


def test_only_given_keys_change(tmp_path: Path) -> None:
    """Tables are merged to any depth; the defaults of an override do not replace the model's values."""
    model = load(project(tmp_path, EXAMPLE + ON)).model("digits", "jetson-orin")
    assert model.precisions == ("fp16",)
    assert model.limits.latency.p50 == pytest.approx(0.002)
    assert model.limits.latency.p99 == pytest.approx(0.009)
    assert model.limits.fps == 30
    int8 = model.tolerances["int8"]
    assert int8.cosine == 0.5
    assert int8.top1_drop == pytest.approx(0.01)
    assert int8.outputs["logits"].max_abs == 1
    assert model.tolerances["fp16"].rmse == 2
    assert model.calibration is not None


def test_other_targets_keep_the_model_as_it_is(tmp_path: Path) -> None:
    """An override applies to its own target only."""
    config = load(project(tmp_path, EXAMPLE + ON))
    assert config.model("digits", "cpu") == config.spec.models["digits"]
    assert config.model("digits", "jetson-nano").limits.fps == 15
    assert config.model("digits", "jetson-nano").limits.memory == 512 * 2**20


def test_limits_of_a_precision_go_over_the_general_ones(tmp_path: Path) -> None:
    """Limits of a precision replace the general ones key by key, after the overrides of a target."""
    text = """
[models.digits.limits.int8]
in_precision = "80 %"
latency = { p50 = "1 ms" }
[models.digits.on.jetson-orin.limits.int8]
fps = 50
"""
    config = load(project(tmp_path, EXAMPLE + text))
    model = config.model("digits", "jetson-orin")
    int8, fp16 = limits_of(model.limits, "int8"), limits_of(model.limits, "fp16")
    assert (int8.in_precision, int8.fps, int8.latency.p50) == (0.8, 50, 0.001)
    assert int8.latency.p99 == model.limits.latency.p99
    assert (fp16.in_precision, fp16.fps, fp16.latency.p50) == (None, 30, 0.002)
    assert limits_of(config.model("digits", "cpu").limits, "int8").fps == 30
