"""Rows that measure a recurrent model run the steps of one sequence, whose state goes on for as long as they run."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from hil.config.load import load
from hil.plan import expand
from hil.results import Verdict
from hil.session import Request, Session
from tests import recurrent
from tests.models import write

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[measure]
paced = "1 s"

[models.m]
path = "m.onnx"
data = "data.npz"

[models.m.inputs.h]
carry = "hn"
batch_axis = 1

[models.m.run]
rate = "200 Hz"

[models.m.limits]
latency = { p50 = "5 s" }
memory_growth = "1 GiB"
paced = { p99 = "5 s", missed = "99 %", streak = 100000, jitter = "5 s" }
"""
FIRST = np.zeros((1, 1, 1), np.float32)


def write_counter(path: Path, *, step: float) -> None:
    """Write a model whose state counts up by ``step`` and is the index of a row of a table of 100 rows."""
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=step),
        helper.make_node("Add", ["h", "one"], ["hn"]),
        helper.make_node("Cast", ["h"], ["at"], to=7),
        helper.make_node("Gather", ["table", "at"], ["row"]),
        helper.make_node("Squeeze", ["row", "zero"], ["flat"]),
        helper.make_node("Add", ["x", "flat"], ["y"]),
    ]
    weights = {"table": np.linspace(0, 1, 100, dtype=np.float32), "zero": np.array([0])}
    shapes: dict[str, list[int | str]] = {"x": ["batch", 3], "h": [1, "batch", 1]}
    write(path, nodes, shapes, {"y": ["batch", 3], "hn": [1, "batch", 1]}, weights)


@pytest.mark.parametrize("check", ["latency.p50", "paced.missed", "memory.growth"])
def test_a_measured_state_is_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    """A model that fails once its state has counted past 100 fails while measured; one whose state stays does not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "data.npz", x=recurrent.inputs(4, 30))
    (tmp_path / "hil.toml").write_text(TOML)
    reasons = {}
    for step in (0.0, 1.0):
        write_counter(tmp_path / "m.onnx", step=step)
        config = load(tmp_path / "hil.toml")
        request = Request(config, "cpu", "cpu", 0.0, "one", tmp_path / f"report{step}", lambda _: None)
        (row,) = expand(config, "cpu").of(check)
        with closing(Session.open(request)) as session:
            result = session.judge(row).result
        reasons[step] = f"{result.verdict}: {result.reason}"
        assert (result.verdict in (Verdict.PASSED, Verdict.INCONCLUSIVE)) is (step == 0.0), reasons
    assert "out of data bounds" in reasons[1.0], reasons
