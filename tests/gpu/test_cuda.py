"""Both CUDA bindings on a real GPU, with the same cases, each in a process of $HIL_GPU_PYTHON.

Run by hand: ``HIL_GPU_PYTHON=/path/to/python pytest tests/gpu/test_cuda.py``. A case is the source of a function below,
run after ``PREPARE``, and must end by printing ``passed``.
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
    """64 MiB are copied to the device and back unchanged through page-locked memory, and device time passes."""
    n = 64 << 20
    stream, device, source, back = cuda.stream(), cuda.alloc(n), cuda.pin(n), cuda.pin(n)
    before, after = cuda.event(), cuda.event()
    source.array[:] = np.random.default_rng(0).integers(0, 256, n, dtype=np.uint8)
    before.record(stream)
    cuda.copy_in(device.address, source.address, n, stream)
    cuda.copy_out(back.address, device.address, n, stream)
    after.record(stream)
    stream.synchronize()
    assert after.done(), "the event is not done"
    assert (back.array == source.array).all(), "the bytes differ"
    assert 1e-5 < after.seconds_since(before) < 10, after.seconds_since(before)
    for buffer in (device, source, back, device):
        buffer.free()
    for part in (before, after, stream, stream):
        part.close()


def graphs(cuda: Any) -> None:
    """A captured copy runs only when it is launched, and every time."""
    stream, device, source, back = cuda.stream(), cuda.alloc(16), cuda.pin(16), cuda.pin(16)

    def work() -> None:
        cuda.copy_in(device.address, source.address, 16, stream)
        cuda.copy_out(back.address, device.address, 16, stream)

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
    for buffer in (device, source, back):
        buffer.free()


def failed_capture(cuda: Any) -> None:
    """A failed capture raises, and the stream is usable afterwards."""
    stream, device, source = cuda.stream(), cuda.alloc(16), cuda.pin(16)

    def fail() -> None:
        cuda.copy_in(device.address, source.address, 16, stream)
        raise KeyError

    for work, expected in ((fail, KeyError), (stream.synchronize, CudaError)):
        raised = None
        try:
            cuda.capture(stream, work)
        except expected as error:
            raised = error
        assert raised is not None, "nothing was raised"
        cuda.copy_in(device.address, source.address, 16, stream)
        stream.synchronize()


def out_of_memory(cuda: Any) -> None:
    """An allocation larger than the memory raises an error with its own name, and the GPU still works afterwards."""
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
    """A thousand rounds of allocating, copying, capturing and freeing lose less than 32 MiB of GPU memory."""
    free = []
    for _ in range(1000):
        device, host, stream, event = cuda.alloc(1 << 22), cuda.pin(1 << 12), cuda.stream(), cuda.event()
        cuda.copy_in(device.address, host.address, 1 << 12, stream)
        event.record(stream)
        stream.synchronize()
        cuda.capture(stream, lambda at=device, of=host, on=stream: cuda.copy_in(at.address, of.address, 8, on)).close()
        for buffer in (device, host):
            buffer.free()
        event.close()
        stream.close()
        free.append(cuda.memory_info()[0])
    assert free[100] - free[-1] < 32 << 20, (free[100], free[-1])


def nested(cuda: Any) -> None:
    """Contexts nest, close in turn, may be closed twice, and can be opened again."""
    second = open_cuda(0, cuda.binding)
    second.alloc(1 << 20).free()
    second.close()
    second.close()
    cuda.alloc(1 << 20).free()
    cuda.close()
    third = open_cuda(0, cuda.binding)
    third.alloc(1 << 20).free()
    third.close()


def left_open(cuda: Any) -> None:
    """A process that exits with everything open exits without an error."""
    open_objects = (cuda.stream(), cuda.event(), cuda.alloc(1 << 20), cuda.pin(1 << 10))
    assert len(open_objects) == 4, open_objects


CASES = (facts, copies, graphs, failed_capture, out_of_memory, no_leak, nested, left_open)


def in_process(binding: str, case: str) -> subprocess.CompletedProcess[str]:
    """Run a case's source under the GPU's interpreter."""
    code = PREPARE.format(package=str(PACKAGE), binding=binding) + "from typing import Any\n" + case
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.skipif(not PYTHON, reason="HIL_GPU_PYTHON names no interpreter with a GPU")
@pytest.mark.parametrize("binding", ["ctypes", "pycuda"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_bindings_alike(binding: str, case: Any) -> None:
    """Each case passes through either binding, and its process exits normally."""
    source = textwrap.dedent(inspect.getsource(case))
    done = in_process(binding, f"{source}\n{case.__name__}(cuda)\nprint('passed')\n")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["passed"]), done.stderr
    assert "PyCUDA ERROR" not in done.stderr


@pytest.mark.skipif(not PYTHON, reason="HIL_GPU_PYTHON names no interpreter with a GPU")
@pytest.mark.parametrize("binding", ["ctypes", "pycuda"])
def test_a_missing_gpu_is_refused(binding: str) -> None:
    """A GPU that does not exist is refused as unsupported, and the message has its number."""
    done = in_process(
        binding,
        f"try:\n    open_cuda(99, {binding!r})\nexcept Failure as error:\n    print(error.kind, error.message)\n",
    )
    assert "unsupported there is no GPU 99" in done.stdout, done.stderr
