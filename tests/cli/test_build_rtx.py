"""``hil build`` with TensorRT-RTX in place of TensorRT: the whole way to an engine of the modern API, without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.cli import main
from tests.agent.runtimes.tensorrt.rtx import as_tensorrt, needs_rtx
from tests.lint.made import image, sized

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONFIG = """
[models.net]
path = "net.onnx"
data = "synthetic"

[targets.gpu]
kind = "local"
runtime = "tensorrt"
"""


@needs_rtx
def test_an_engine_is_built_or_its_failure_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sound model becomes an engine; for a faulty model, the findings of ``hil lint`` precede the failure."""
    as_tensorrt(tmp_path / "module", monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hil.toml").write_text(CONFIG)
    (tmp_path / "net.onnx").write_bytes(sized(["n", 3, 8, 8]).SerializeToString())
    assert main(["build", "net", "--target", "gpu"]) == 0, capsys.readouterr()
    assert list(tmp_path.rglob("*.plan"))
    (tmp_path / "net.onnx").write_bytes(image(cast_first=False).SerializeToString())
    assert main(["build", "net", "--target", "gpu"]) != 0
    shown = capsys.readouterr()
    assert "n_c" in shown.err.splitlines()[-1]
    assert "cannot parse the ONNX file (opset 17)" in shown.out + shown.err
    assert "hil lint: node 'n_c' (Transpose)" in shown.out + shown.err
