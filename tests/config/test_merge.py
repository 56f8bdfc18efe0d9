"""``[models.NAME.on.TARGET]``: the keys of an override replace the model's; all others stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
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
