"""``latency.speedup`` in a real session on the CPU: one precision against another, each with its own limit."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.config.load import load
from hil.plan import expand
from hil.results import Sense, Verdict
from hil.session import Request, Session
from tests.models import convnet, images

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[models.net]
path = "net.onnx"
data = "validation.npz"
precisions = ["fp32", "int8"]
calibration = { data = "calibration.npz", method = "minmax" }

[models.net.limits]
int8 = { speedup = { over = "fp32", least = 0.01 } }
fp32 = { speedup = { over = "int8", least = 100 } }

[measure]
duration = "500 ms"
warmup = "20 ms"
budget = "2 s"
"""


def test_each_precision_is_compared_with_the_one_that_its_limit_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ratio is of the medians of two engines that were timed once each, and is judged by its own limit."""
    convnet(tmp_path / "net.onnx")
    np.savez(tmp_path / "validation.npz", image=images(40, seed=1))
    np.savez(tmp_path / "calibration.npz", image=images(40))
    (tmp_path / "hil.toml").write_text(CONFIG)
    config = load(tmp_path / "hil.toml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    request = Request(config, "cpu", "fail", 0.0, "run", tmp_path / "report", progress=lambda _: None)
    rows = {row.precision: row for row in expand(config, "cpu").rows if row.id == "latency.speedup"}
    with closing(Session.open(request)) as session:
        results = {precision: session.judge(row).result for precision, row in rows.items()}
    for precision, over, least in (("int8", "fp32", 0.01), ("fp32", "int8", 100)):
        result = results[precision]
        assert result.limit is not None
        assert (result.details["over"], result.limit.value, result.limit.sense) == (over, least, Sense.AT_LEAST)
        assert result.measurement is not None
        low, high = result.measurement.low or 0.0, result.measurement.high or math.inf
        # A busy machine leaves few independent samples, and the interval is then open.
        verdict = Verdict.PASSED if low >= least else Verdict.FAILED if high < least else Verdict.INCONCLUSIVE
        assert result.verdict is verdict, result.reason
        assert result.verdict is not (Verdict.FAILED if least < 1 else Verdict.PASSED)
        seconds = result.details["reference_seconds"], result.details["candidate_seconds"]
        assert result.measurement.value == pytest.approx(seconds[0] / seconds[1])
        assert seconds == tuple(results[over].details[key] for key in ("candidate_seconds", "reference_seconds"))
