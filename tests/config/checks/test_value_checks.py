"""Limits of latency that cannot have an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from tests.config.example import project

if TYPE_CHECKING:
    from pathlib import Path

MODEL = '[models.a]\npath = "examples/digits/model.onnx"\ndata = "examples/digits/validation.npz"\n'


@pytest.mark.parametrize(
    ("limits", "where"),
    [
        ('limits.latency = { p50 = "3 ms", p90 = "2 ms" }', "limits.latency"),
        ('limits.fp32.latency = { p50 = "3 ms", p90 = "2 ms" }', "limits.fp32.latency"),
        ('on.cpu.limits.latency = { p50 = "3 ms", p90 = "2 ms" }', "on.cpu.limits.latency"),
        ('limits.latency.p90 = "2 ms"\non.cpu.limits.latency.p50 = "3 ms"', "on.cpu.limits.latency"),
        ('limits.latency.p90 = "2 ms"\non.cpu.limits.fp32.latency.p50 = "3 ms"', "on.cpu.limits.fp32.latency"),
    ],
)
def test_a_limit_above_that_of_a_higher_percentile_is_a_warning(tmp_path: Path, limits: str, where: str) -> None:
    """A limit of p50 above that of p90 is reported once, also where a target or precision changes one of them."""
    config = load(project(tmp_path, f"{MODEL}{limits}\n"))
    (warning,) = [one for one in config.warnings if "is above that of" in one]
    assert f"{where}: the limit of p50 is above that of p90" in warning
