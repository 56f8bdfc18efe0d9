"""``hil doctor`` shows what ``hil lint`` finds in the models that run on the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.config.load import load
from hil.doctor.declared_models import findings
from tests.lint.made import MADE, sized

if TYPE_CHECKING:
    from pathlib import Path

    from hil.doctor import Finding

CONFIG = """
[models.net]
path = "net.onnx"
data = "synthetic"

[targets.board]
kind = "ssh"
host = "board.example"
runtime = "{runtime}"
board = "agx-orin-64gb"
"""


def of_board(folder: Path, facts: dict[str, Any], runtime: str = "tensorrt") -> list[Finding]:
    """Return the findings on the model ``net.onnx`` in the folder."""
    (folder / "hil.toml").write_text(CONFIG.format(runtime=runtime))
    return list(findings(load(folder / "hil.toml"), "board", facts))


def test_a_sound_model_is_named(tmp_path: Path) -> None:
    """A model without findings has a line of its own."""
    (tmp_path / "net.onnx").write_bytes(sized(["n", 3, 8, 8]).SerializeToString())
    assert [(one.what, one.state) for one in of_board(tmp_path, {})] == [("net", "ok")]


@pytest.mark.parametrize(("version", "state"), [("8.5.2", "warn"), ("10.3.0", "ok"), (None, "ok"), (7, "ok")])
def test_the_target_s_own_tensorrt_decides(version: object, state: str, tmp_path: Path) -> None:
    """A model is examined for the TensorRT version that the target reports; a malformed one counts as unknown."""
    (tmp_path / "net.onnx").write_bytes(MADE["an input of int64"].broken(tmp_path / "net.onnx").SerializeToString())
    assert [one.state for one in of_board(tmp_path, {"runtimes": {"tensorrt": version}})] == [state]


def test_what_stops_a_model_is_bad(tmp_path: Path) -> None:
    """A finding that stops a model makes the target not ready, and the fix is shown."""
    path = tmp_path / "net.onnx"
    path.write_bytes(MADE["a zero point that is not 0"].broken(path).SerializeToString())
    [one] = of_board(tmp_path, {})
    assert one.state == "bad"
    assert "ActivationSymmetric" in one.fix


def test_a_file_that_is_no_model_is_bad(tmp_path: Path) -> None:
    """An unreadable model is a finding, and the doctor goes on."""
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    [one] = of_board(tmp_path, {})
    assert (one.state, one.what) == ("bad", "net")


def test_other_runtimes_have_no_findings_on_models(tmp_path: Path) -> None:
    """There are no findings on models for runtimes other than TensorRT."""
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    assert not of_board(tmp_path, {}, "onnxruntime")
