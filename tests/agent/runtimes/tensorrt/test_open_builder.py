"""What consecutive builds share in one process, with a fake TensorRT module and without a GPU."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.failure import Failure
from hil.agent.runtimes import tensorrt
from hil.agent.runtimes.tensorrt import open_builder
from hil.agent.runtimes.tensorrt.build_engine import build
from hil.agent.runtimes.tensorrt.open_builder import OpenBuilder
from tests.agent import models
from tests.agent.runtimes.tensorrt.fake import Builder, Cuda, Trt

if TYPE_CHECKING:
    from pathlib import Path


class Counted(Trt):
    """A fake module with weak references to every builder that it created."""

    def __init__(self) -> None:
        super().__init__()
        self.builders: list[weakref.ref[Builder]] = []

    def Builder(self, log: Any) -> Builder:  # noqa: N802 - TensorRT's name
        """Return a builder."""
        builder = super().Builder(log)
        self.builders.append(weakref.ref(builder))
        return builder


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """A fake module in place of TensorRT's, with a fake CUDA context."""
    fake_trt = Counted()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_trt)
    monkeypatch.setattr(open_builder, "open_builder", lambda trt, options: OpenBuilder(trt, Cuda(), options))
    return fake_trt


def test_consecutive_builds_share_a_builder(trt: Counted, tmp_path: Path) -> None:
    """A build with ``more`` leaves its builder to the next build, whose log and warnings are its own."""
    model, out = str(models.tiny(tmp_path / "m.onnx")), str(tmp_path / "out")
    runtime = tensorrt.TensorRt()
    trt.messages = [(2, "first")]
    first = runtime.build(model, "fp32", {"more": True}, out)
    trt.messages = [(2, "second")]
    second = runtime.build(model, "fp16", {}, out)
    assert len(trt.builders) == 1
    assert first.facts["seconds_builder"] > 0
    assert second.facts["seconds_builder"] == 0
    assert (first.facts["warnings"], second.facts["warnings"]) == (["first"], ["second"])
    assert second.log == "[W] second"
    runtime.build(model, "fp32", {}, out)
    assert len(trt.builders) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_the_builder_is_freed_before_the_context(fails: bool, tmp_path: Path) -> None:
    """The builder is freed before its CUDA context, also after a failure."""
    trt, cuda, alive = Counted(), Cuda(), []
    cuda.at_close = lambda: alive.append([reference() for reference in trt.builders])
    opened = OpenBuilder(trt, cuda, {})
    if fails:
        trt.plan = None
        with pytest.raises(Failure):
            build(opened, str(models.tiny(tmp_path / "m.onnx")), "fp32", {}, str(tmp_path / "out"))
    else:
        build(opened, str(models.tiny(tmp_path / "m.onnx")), "fp32", {}, str(tmp_path / "out"))
        opened.close()
    assert alive == [[None]]


def test_a_failure_is_followed_by_a_new_builder(trt: Counted, tmp_path: Path) -> None:
    """After a failure, the next build gets a new builder."""
    model, out = str(models.tiny(tmp_path / "m.onnx")), str(tmp_path / "out")
    runtime = tensorrt.TensorRt()
    trt.plan = None
    with pytest.raises(Failure):
        runtime.build(model, "fp32", {"more": True}, out)
    trt.plan = b"plan"
    assert runtime.build(model, "fp32", {}, out).facts["seconds_builder"] > 0
    assert len(trt.builders) == 2
