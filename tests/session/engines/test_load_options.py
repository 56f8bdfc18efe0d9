from __future__ import annotations

import pytest

from hil.config.spec import BuildSpec, ModelSpec, RunSpec, TargetSpec
from hil.runtimes import RUNTIMES
from hil.session.engines.load_options import ignored_keys, load_options, report_ignored_keys, streams

CPU, GPU = TargetSpec(threads=2), TargetSpec(runtime="tensorrt", gpu=1, cuda="ctypes")
PLAIN = ModelSpec(path="m.onnx", data="d.npz")
BUILD = BuildSpec.model_validate({"dla": 0, "plugins": ("libx.so",), "workspace": "1 GiB"})
ASKING = PLAIN.model_copy(update={"run": RunSpec(cuda_graph=True, streams=4), "build": BUILD})


def test_each_runtime_gets_its_own_options() -> None:
    """Threads are the CPU's; device, binding, graph and streams are TensorRT's."""
    assert load_options(CPU, ASKING) == {"threads": 2}
    assert load_options(TargetSpec(), ASKING) == {}
    assert load_options(GPU, ASKING) == {"gpu": 1, "cuda": "ctypes", "streams": 4, "cuda_graph": True}
    assert load_options(GPU, PLAIN) == {"gpu": 1, "cuda": "ctypes", "streams": 1, "cuda_graph": False}


def test_streams_are_only_where_there_are_streams() -> None:
    """A rate with four in flight is not claimed of a runtime that runs one after another."""
    assert (streams(GPU, ASKING), streams(CPU, ASKING)) == (4, 1)


def test_what_a_runtime_cannot_carry_out_is_named() -> None:
    """Each key that was written, none that was not, and nothing where TensorRT sees to it."""
    wanted = ["build.workspace", "build.plugins", "build.dla", "run.cuda_graph", "run.streams"]
    assert ignored_keys(CPU, ASKING) == wanted
    assert ignored_keys(CPU, PLAIN) == ignored_keys(GPU, ASKING) == []


FOR_ALL = {"time_limit", "rate", "deadline"}
"""Keys that every runtime carries out: the agent does, around the engine."""


@pytest.mark.parametrize("key", sorted((set(BuildSpec.model_fields) | set(RunSpec.model_fields)) - FOR_ALL))
def test_no_key_is_ignored_in_silence(key: str) -> None:
    """A key that is added to the tables belongs to a runtime's record, or somebody decided otherwise here."""
    owned = {name for record in RUNTIMES.values() for names in record.model_keys.values() for name in names}
    assert key in owned


def test_it_is_said_in_one_line_and_never_fails() -> None:
    """One hil.toml serves CPU and board: the CPU ignores such keys, and reports it once."""
    messages: list[str] = []
    report_ignored_keys(CPU, ASKING, "toy", messages.append)
    report_ignored_keys(CPU, PLAIN, "toy", messages.append)
    assert len(messages) == 1
    assert messages[0].startswith("toy: build.workspace")
    assert "onnxruntime" in messages[0]
