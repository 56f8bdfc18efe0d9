from __future__ import annotations

import pytest

from hil.config.spec import BuildSpec, ModelSpec, RunSpec, TargetSpec
from hil.runtimes import RUNTIMES
from hil.session.engines.load_options import ignored_keys, load_options, report_ignored_keys, streams

CPU, GPU = TargetSpec(threads=2), TargetSpec(runtime="tensorrt", gpu=1, cuda="ctypes")
PLAIN = ModelSpec(path="m.onnx", data="d.npz")
BUILD = BuildSpec.model_validate({"dla": 0, "plugins": ("libx.so",), "workspace": "1 GiB"})
WITH_OPTIONS = PLAIN.model_copy(update={"run": RunSpec(cuda_graph=True, streams=4), "build": BUILD})


def test_each_runtime_gets_its_own_options() -> None:
    """ONNX Runtime gets the threads; TensorRT gets GPU, CUDA binding, CUDA graph and streams."""
    assert load_options(CPU, WITH_OPTIONS) == {"threads": 2}
    assert load_options(TargetSpec(), WITH_OPTIONS) == {}
    assert load_options(GPU, WITH_OPTIONS) == {"gpu": 1, "cuda": "ctypes", "streams": 4, "cuda_graph": True}
    assert load_options(GPU, PLAIN) == {"gpu": 1, "cuda": "ctypes", "streams": 1, "cuda_graph": False}


def test_a_runtime_without_streams_has_one() -> None:
    """Only TensorRT uses the configured streams; ONNX Runtime has one."""
    assert (streams(GPU, WITH_OPTIONS), streams(CPU, WITH_OPTIONS)) == (4, 1)


def test_keys_that_a_runtime_ignores_are_listed() -> None:
    """Each configured key that the runtime ignores is listed, and no other."""
    ignored = ["build.workspace", "build.plugins", "build.dla", "run.cuda_graph", "run.streams"]
    assert ignored_keys(CPU, WITH_OPTIONS) == ignored
    assert ignored_keys(CPU, PLAIN) == ignored_keys(GPU, WITH_OPTIONS) == []


FOR_ALL = {"time_limit", "rate", "deadline"}
"""Keys that the agent implements around the engine, for every runtime."""


@pytest.mark.parametrize("key", sorted((set(BuildSpec.model_fields) | set(RunSpec.model_fields)) - FOR_ALL))
def test_every_key_belongs_to_a_runtime(key: str) -> None:
    """Each key of the build and run tables is in a runtime's record or in ``FOR_ALL``."""
    owned = {name for record in RUNTIMES.values() for names in record.model_keys.values() for name in names}
    assert key in owned


def test_ignored_keys_are_reported_in_one_line() -> None:
    """All keys that the CPU ignores are reported in one message, and a model without such keys gets no message."""
    messages: list[str] = []
    report_ignored_keys(CPU, WITH_OPTIONS, "toy", messages.append)
    report_ignored_keys(CPU, PLAIN, "toy", messages.append)
    assert len(messages) == 1
    assert messages[0].startswith("toy: build.workspace")
    assert "onnxruntime" in messages[0]
