from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from hil.config.load import load
from hil.results import Row, Verdict
from hil.session import Request, Session
from tests.models import images, write

if TYPE_CHECKING:
    from pathlib import Path

    from hil.results import CheckResult

TOML = """
[models.m]
path = "m.onnx"
data = "data.npz"
precisions = ["fp32"]

[measure]
examples = 30
"""


NODES = {
    "Relu": [helper.make_node("Relu", ["image"], ["y"])],
    "Reciprocal": [helper.make_node("Reciprocal", ["image"], ["y"])],
    "batch statistics": [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["image", "mean"], ["y"]),
    ],
}


def _rows(tmp_path: Path, nodes: str, more: str = "") -> list[CheckResult]:
    """Return the results of both property rows of a model with these nodes, on the CPU."""
    write(tmp_path / "m.onnx", NODES[nodes], {"image": ["batch", 2, 6, 6]}, {"y": ["batch", 2, 6, 6]})
    np.savez(tmp_path / "data.npz", image=np.abs(images(16)))
    (tmp_path / "hil.toml").write_text(TOML + more)
    request = Request(load(tmp_path / "hil.toml"), "cpu", "cpu", 0.0, "one", tmp_path / "report", lambda _: None)
    rows = [Row(id=f"property.{name}", model="m", precision="fp32", required=True) for name in ("parity", "stable")]
    with closing(Session.open(request)) as session:
        return [session.judge(row).result for row in rows]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_a_sound_engine_passes_both_properties(tmp_path: Path) -> None:
    """All batches are tried, and Hypothesis leaves no folder beside the config."""
    parity, stable = _rows(tmp_path, "Relu")
    assert parity.verdict is stable.verdict is Verdict.PASSED
    assert parity.measurement is not None
    assert parity.measurement.value == 30
    assert not (tmp_path / ".hypothesis").exists()


def test_batch_statistics_fail_stability(tmp_path: Path) -> None:
    """A normalization in training mode passes parity, and fails stability with an example of two samples."""
    parity, stable = _rows(tmp_path, "batch statistics")
    assert parity.verdict is Verdict.PASSED
    assert stable.verdict is Verdict.FAILED
    assert "batch mates" in stable.reason
    assert len(stable.details["example"]["samples"]) == 2


def test_non_finite_outputs_within_the_range_fail_and_are_saved(tmp_path: Path) -> None:
    """A reciprocal of zero, which only the declared range includes, fails, and its inputs are in the report."""
    _, stable = _rows(tmp_path, "Reciprocal", "\n[models.m.ranges]\nimage = [0.0, 1.0]\n")
    assert stable.verdict is Verdict.FAILED
    assert "not finite" in stable.reason
    with np.load(tmp_path / "report" / stable.details["inputs"], allow_pickle=False) as saved:
        assert (saved["image"] == 0).any()
