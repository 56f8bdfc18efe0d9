"""Both CUDA bindings on a real GPU, by the same cases, each in a process of $HIL_GPU_PYTHON.

Run by hand: ``HIL_GPU_PYTHON=/path/to/python pytest tests/gpu/test_cuda.py``. A case is the source of a
function below, run after ``PREPARE``, which gives it the same names; what it prints last must be ``held``.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.agent.runtimes.cuda import CudaError, open_cuda

PACKAGE = Path(__file__).parents[2] / "hil"
PYTHON = os.environ.get("HIL_GPU_PYTHON", "")
PREPARE = """
import sys
import numpy as np
sys.path.insert(0, {package!r})
from agent.failure import Failure
from agent.runtimes.cuda import CudaError, open_cuda
cuda = open_cuda(0, {binding!r})
assert cuda.binding == {binding!r}, cuda.binding
"""


def facts(cuda: Any) -> None:
    """The GPU has a name, a capability, multiprocessors and memory."""
    free, total = cuda.memory_info()
    assert 0 < free <= total, (free, total)
    assert cuda.name, "no name"
    assert float(cuda.sm) >= 5, cuda.sm
    assert cuda.sms > 0, cuda.sms
    assert float(cuda.driver) >= 10, cuda.driver


def copies(cuda: Any) -> None:
    """64 MiB go in and come out bit by bit, through page-locked memory; time passes on the device."""
    n = 64 << 20
    stream, there, source, back = cuda.stream(), cuda.alloc(n), cuda.pin(n), cuda.pin(n)
    before, after = cuda.event(), cuda.event()
    source.array[:] = np.random.default_rng(0).integers(0, 256, n, dtype=np.uint8)
    before.record(stream)
    cuda.copy_in(there.address, source.address, n, stream)
    cuda.copy_out(back.address, there.address, n, stream)
    after.record(stream)
    stream.synchronize()
    assert after.done(), "the event is not done"
    assert (back.array == source.array).all(), "the bytes differ"
    assert 1e-5 < after.seconds_since(before) < 10, after.seconds_since(before)
    for each in (there, source, back, there):
        each.free()
    for closing in (before, after, stream, stream):
        closing.close()


def graphs(cuda: Any) -> None:
    """A captured copy does nothing until it is launched, and then as often as it is."""
    stream, there, source, back = cuda.stream(), cuda.alloc(16), cuda.pin(16), cuda.pin(16)

    def work() -> None:
        cuda.copy_in(there.address, source.address, 16, stream)
        cuda.copy_out(back.address, there.address, 16, stream)

    back.array[:] = 0
    graph = cuda.capture(stream, work)
    stream.synchronize()
    assert not back.array.any(), "the capture was executed"
    for value in (3, 7):
        source.array[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (back.array == value).all(), back.array
    graph.close()
    graph.close()
    for each in (there, source, back):
        each.free()


def failed_capture(cuda: Any) -> None:
    """A capture that fails raises, and the stream copies afterwards."""
    stream, there, source = cuda.stream(), cuda.alloc(16), cuda.pin(16)

    def stumble() -> None:
        cuda.copy_in(there.address, source.address, 16, stream)
        raise KeyError

    for work, expected in ((stumble, KeyError), (stream.synchronize, CudaError)):
        raised = None
        try:
            cuda.capture(stream, work)
        except expected as error:
            raised = error
        assert raised is not None, "nothing was raised"
        cuda.copy_in(there.address, source.address, 16, stream)
        stream.synchronize()


def out_of_memory(cuda: Any) -> None:
    """More than there is: an error with its own name, after which the GPU still works."""
    raised = None
    try:
        cuda.alloc(1 << 45)
    except CudaError as error:
        raised = error
    assert raised is not None, "nothing was raised"
    assert "CUDA_ERROR_OUT_OF_MEMORY (2)" in str(raised), str(raised)
    assert not raised.sticky, "it is not sticky"
    cuda.alloc(1 << 20).free()


def no_leak(cuda: Any) -> None:
    """A thousand rounds of everything leave the GPU's memory as it was after the first ones."""
    free = []
    for _ in range(1000):
        there, here, stream, event = cuda.alloc(1 << 22), cuda.pin(1 << 12), cuda.stream(), cuda.event()
        cuda.copy_in(there.address, here.address, 1 << 12, stream)
        event.record(stream)
        stream.synchronize()
        cuda.capture(stream, lambda at=there, of=here, on=stream: cuda.copy_in(at.address, of.address, 8, on)).close()
        for each in (there, here):
            each.free()
        event.close()
        stream.close()
        free.append(cuda.memory_info()[0])
    assert free[100] - free[-1] < 32 << 20, (free[100], free[-1])


def again(cuda: Any) -> None:
    """Contexts nest, close in turn, twice, and open again."""
    two = open_cuda(0, cuda.binding)
    two.alloc(1 << 20).free()
    two.close()
    two.close()
    cuda.alloc(1 << 20).free()
    cuda.close()
    three = open_cuda(0, cuda.binding)
    three.alloc(1 << 20).free()
    three.close()


def left_open(cuda: Any) -> None:
    """A process that ends with everything open ends quietly."""
    kept = (cuda.stream(), cuda.event(), cuda.alloc(1 << 20), cuda.pin(1 << 10))
    assert len(kept) == 4, kept


CASES = (facts, copies, graphs, failed_capture, out_of_memory, no_leak, again, left_open)


def in_process(binding: str, case: str) -> subprocess.CompletedProcess[str]:
    """Runs a case's source under the GPU's interpreter."""
    code = PREPARE.format(package=str(PACKAGE), binding=binding) + "from typing import Any\n" + case
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.skipif(not PYTHON, reason="HIL_GPU_PYTHON names no interpreter with a GPU")
@pytest.mark.parametrize("binding", ["ctypes", "pycuda"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_bindings_alike(binding: str, case: Any) -> None:
    """Each case holds through either binding, and its process ends well."""
    source = textwrap.dedent(inspect.getsource(case))
    done = in_process(binding, f"{source}\n{case.__name__}(cuda)\nprint('held')\n")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["held"]), done.stderr
    assert "PyCUDA ERROR" not in done.stderr


@pytest.mark.skipif(not PYTHON, reason="HIL_GPU_PYTHON names no interpreter with a GPU")
@pytest.mark.parametrize("binding", ["ctypes", "pycuda"])
def test_a_gpu_that_is_not_there(binding: str) -> None:
    """It is refused by number, in words."""
    done = in_process(
        binding,
        f"try:\n    open_cuda(99, {binding!r})\nexcept Failure as error:\n    print(error.kind, error.message)\n",
    )
    assert "unsupported there is no GPU 99" in done.stdout, done.stderr
