from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.failure import ENGINE, UNSUPPORTED, Failure
from hil.agent.runtimes.cuda import CudaError, open_cuda, visible_devices
from hil.agent.runtimes.cuda.error_codes import FRESH, SMALLER
from hil.agent.runtimes.cuda.functions import load
from hil.agent.runtimes.cuda.pycuda_ import code_of, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.agent.runtimes.cuda import Cuda

SOURCE = Path(__file__).with_name("driver_stub.c")
HUGE = 1 << 41


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stub of the driver (``driver_stub.c``), enough for the logic that needs no GPU."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the stub of a driver")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(SOURCE)], check=True)
    return str(path)


@pytest.fixture
def state(library: str) -> Any:
    """Return a function that reads the stub's counters, which start at zero."""
    stub = ctypes.CDLL(library)
    stub.stub_reset()
    return lambda name: ctypes.c_int.in_dll(stub, name).value


@pytest.fixture
def cuda(library: str, state: Any) -> Iterator[Cuda]:
    """The ctypes binding, on the stub."""
    opened = open_cuda(0, "ctypes", library)
    yield opened
    opened.close()
    assert (state("depth"), state("retained")) == (0, 0)


def test_a_missing_driver_is_unsupported() -> None:
    """Without libcuda the failure is "unsupported", with advice about what to check."""
    with pytest.raises(Failure, match="driver cannot be loaded") as caught:
        open_cuda(0, "auto", "libcuda-that-is-nowhere.so.1")
    assert (caught.value.kind, "nvidia-smi" in caught.value.advice) == (UNSUPPORTED, True)


def test_an_unknown_binding_is_refused() -> None:
    """The name of an unknown CUDA binding is refused, not treated as ``auto``."""
    with pytest.raises(Failure, match="not a binding"):
        open_cuda(0, "pycuda2")


def test_a_library_that_is_not_a_driver_is_refused() -> None:
    """A driver library that lacks a required function is refused, and the message names the function."""
    with pytest.raises(Failure, match="has no cuCtxGetCurrent"):
        load("libc.so.6")


@pytest.mark.parametrize("number", [2, -1, 99])
def test_a_gpu_that_is_not_visible_is_refused(library: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not visible is refused; the message names CUDA_VISIBLE_DEVICES."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with pytest.raises(Failure, match=rf"no GPU {number}: GPUs 0 to 1 are visible .*'3,5'"):
        open_cuda(number, "ctypes", library)


def test_a_requested_pycuda_is_not_replaced(library: str, state: Any) -> None:
    """If pycuda cannot be imported, requesting it is an error, and ``auto`` uses ctypes."""
    with pytest.raises(Failure, match="pycuda was requested"):
        open_cuda(0, "pycuda", library)
    opened = open_cuda(0, "auto", library)
    opened.close()
    assert (opened.binding, state("depth")) == ("ctypes", 0)


def test_the_gpu_s_facts_are_the_driver_s(cuda: Cuda, library: str) -> None:
    """Name, capability, multiprocessors, driver version and identity come from the driver."""
    assert (cuda.name, cuda.sm, cuda.sms, cuda.driver, cuda.integrated) == ("Stub A", "8.7", 14, "12.4", False)
    first, second = visible_devices(library)
    assert (first["number"], second["number"], second["name"], second["integrated"]) == (0, 1, "Stub B", True)
    assert (first["uuid"], first["pci"]) == ("000102030405060708090a0b0c0d0e0f", "0000:01:00.0")


def test_copies_arrive(cuda: Cuda, state: Any) -> None:
    """Data copied to the device and back is unchanged; a buffer that is freed twice is freed once."""
    stream, device, other = cuda.stream(), cuda.alloc(64), cuda.alloc(64)
    source, back = cuda.pin(64), cuda.pin(64)
    source.array[:] = np.arange(64)
    cuda.copy_in(device.address, source.address, 64, stream)
    cuda.copy_within(other.address, device.address, 64, stream)
    cuda.copy_out(back.address, other.address, 64, stream)
    stream.synchronize()
    np.testing.assert_array_equal(back.array, np.arange(64))
    assert state("allocated") == 4
    for buffer in (device, other, source, back, device, source):
        buffer.free()
    stream.close()
    stream.close()
    assert state("allocated") == 0


def test_an_empty_buffer_has_an_address(cuda: Cuda) -> None:
    """An empty tensor gets buffers, although the driver refuses to allocate 0 bytes."""
    device, host = cuda.alloc(0), cuda.pin(0)
    assert device.address
    assert host.address
    assert (device.nbytes, host.nbytes, host.array.shape) == (0, 0, (0,))
    device.free()
    host.free()


def test_events_measure_seconds(cuda: Cuda) -> None:
    """The driver's milliseconds become seconds; "not ready" is not an error."""
    stream, before, after = cuda.stream(), cuda.event(), cuda.event()
    before.record(stream)
    after.record(stream)
    after.synchronize()
    assert after.seconds_since(before) == pytest.approx(2.5e-3)
    assert not after.done()
    for resource in (before, after, before, stream):
        resource.close()


def test_out_of_memory_has_its_own_advice(cuda: Cuda) -> None:
    """Lack of memory is the engine's failure with advice, and the process stays usable."""
    with pytest.raises(CudaError, match=r"CUDA_ERROR_OUT_OF_MEMORY \(2\): out of memory") as caught:
        cuda.alloc(HUGE)
    assert (caught.value.kind, caught.value.advice, caught.value.sticky) == (ENGINE, SMALLER, False)
    assert cuda.memory_info() == (3 << 32, 5 << 32)


def test_a_lost_context_is_sticky(cuda: Cuda) -> None:
    """An illegal address is reported as sticky, with advice, and closing a stream afterwards raises nothing."""
    stream = cuda.stream()
    with pytest.raises(CudaError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS \(700\)") as caught:
        cuda.copy_in(0, 0, 4, stream)
    assert (caught.value.sticky, caught.value.advice) == (True, FRESH)
    stream.close()


def test_a_capture_is_launched_and_freed(cuda: Cuda, state: Any) -> None:
    """A captured graph is launched repeatedly and freed once, also if the driver has only CUDA 10.2's functions."""
    stream = cuda.stream()
    graph = cuda.capture(stream, lambda: None)
    assert state("graphs") == 1
    graph.launch(stream)
    graph.launch(stream)
    graph.close()
    graph.close()
    assert (state("launched"), state("graphs")) == (2, 0)


def test_a_failed_capture_leaves_the_stream_usable(cuda: Cuda, state: Any) -> None:
    """A failed capture raises the error of the work or of the driver, and the stream stays usable."""

    def fail() -> None:
        raise RuntimeError("the engine refused")

    stream = cuda.stream()
    with pytest.raises(RuntimeError, match="the engine refused"):
        cuda.capture(stream, fail)
    with pytest.raises(CudaError, match="cuStreamSynchronize"):
        cuda.capture(stream, stream.synchronize)
    with pytest.raises(CudaError, match="cuStreamEndCapture"):
        cuda.capture(stream, lambda: _quietly(stream))
    stream.synchronize()
    assert (state("graphs"), state("capturing")) == (0, 0)


def _quietly(stream: Any) -> None:
    with pytest.raises(CudaError):
        stream.synchronize()


def test_closing_twice_pops_once(library: str, state: Any) -> None:
    """Two CUDA contexts of one process nest; closing one twice removes only that context."""
    first, second = open_cuda(0, "ctypes", library), open_cuda(1, "ctypes", library)
    assert (state("depth"), state("retained")) == (2, 2)
    second.close()
    second.close()
    assert (state("depth"), state("retained")) == (1, 1)
    first.close()
    assert (state("depth"), state("retained")) == (0, 0)


class PyCudaError(Exception):
    """As ``pycuda.driver.Error``."""


class PyCudaMemoryError(PyCudaError):
    """As ``pycuda.driver.MemoryError``."""


class PyCudaDriver:
    """The two names of ``pycuda.driver`` that are needed."""

    Error = PyCudaError
    MemoryError = PyCudaMemoryError


def test_a_pycuda_error_gets_its_code(library: str, cuda: Cuda) -> None:  # noqa: ARG001 - the context is needed
    """The CUDA error code of a pycuda exception, which has only text, is identified by the driver's words in it."""
    functions = load(library)
    text = "cuMemcpyHtoDAsync failed: an illegal memory access was encountered"
    assert (code_of(functions, text), code_of(functions, "something else"), code_of(functions, "")) == (700, 0, 0)
    error = translated(functions, PyCudaDriver, PyCudaError(text))
    assert (error.code, error.sticky, error.call) == (700, True, "cuMemcpyHtoDAsync")
    out_of_memory = translated(functions, PyCudaDriver, PyCudaMemoryError("cuMemAlloc failed: out of memory"))
    assert (out_of_memory.code, out_of_memory.advice) == (2, SMALLER)
    other = translated(functions, PyCudaDriver, PyCudaError("pagelocked_empty failed: what is this"))
    assert (other.code, other.sticky, "what is this" in other.message) == (0, False, True)
