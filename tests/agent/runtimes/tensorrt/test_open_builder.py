"""What builds share in one process, held with a module that stands for TensorRT and needs no GPU."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.failure import Failure
from hil.agent.runtimes import tensorrt
from hil.agent.runtimes.tensorrt import open_builder
from hil.agent.runtimes.tensorrt.build_engine import build
from hil.agent.runtimes.tensorrt.open_builder import Workshop
from tests.agent import models
from tests.agent.runtimes.tensorrt.fake import Builder, Cuda, Trt

if TYPE_CHECKING:
    from pathlib import Path


class Counted(Trt):
    """Knows every builder that it made, as long as it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.builders: list[weakref.ref[Builder]] = []

    def Builder(self, log: Any) -> Builder:  # noqa: N802 - TensorRT's name
        """A builder."""
        made = super().Builder(log)
        self.builders.append(weakref.ref(made))
        return made


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """In place of TensorRT's module, and of CUDA's context."""
    made = Counted()
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setattr(open_builder, "open_workshop", lambda trt, options: Workshop(trt, Cuda(), options))
    return made


def test_one_builder_for_builds_one_after_the_other(trt: Counted, tmp_path: Path) -> None:
    """With ``more`` the next build finds the builder loaded and waits for none; its log is its own."""
    model, out = str(models.tiny(tmp_path / "m.onnx")), str(tmp_path / "out")
    runtime = tensorrt.TensorRt()
    trt.says = [(2, "first")]
    first = runtime.build(model, "fp32", {"more": True}, out)
    trt.says = [(2, "second")]
    second = runtime.build(model, "fp16", {}, out)
    assert len(trt.builders) == 1
    assert first.facts["seconds_builder"] > 0
    assert second.facts["seconds_builder"] == 0
    assert (first.facts["warnings"], second.facts["warnings"]) == (["first"], ["second"])
    assert second.log == "[W] second"
    runtime.build(model, "fp32", {}, out)
    assert len(trt.builders) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_the_builder_goes_before_the_context(fails: bool, tmp_path: Path) -> None:
    """What is freed after its CUDA context aborts the process; after a failure, too, whose frames still hold it."""
    trt, cuda, alive = Counted(), Cuda(), []
    cuda.at_close = lambda: alive.append([one() for one in trt.builders])
    shop = Workshop(trt, cuda, {})
    if fails:
        trt.plan = None
        with pytest.raises(Failure):
            build(shop, str(models.tiny(tmp_path / "m.onnx")), "fp32", {}, str(tmp_path / "out"))
    else:
        build(shop, str(models.tiny(tmp_path / "m.onnx")), "fp32", {}, str(tmp_path / "out"))
        shop.close()
    assert alive == [[None]]


def test_a_failure_is_followed_by_a_builder_of_its_own(trt: Counted, tmp_path: Path) -> None:
    """Nothing is built with what a failed build has touched."""
    model, out = str(models.tiny(tmp_path / "m.onnx")), str(tmp_path / "out")
    runtime = tensorrt.TensorRt()
    trt.plan = None
    with pytest.raises(Failure):
        runtime.build(model, "fp32", {"more": True}, out)
    trt.plan = b"plan"
    assert runtime.build(model, "fp32", {}, out).facts["seconds_builder"] > 0
    assert len(trt.builders) == 2
