"""CUDA for the bare loop, by ctypes and by pycuda; imports nothing of hil, runs under the interpreter with TensorRT.

It has only what the loop needs, and is as lean as a careful script would be: calls in the loop are prepared with their
arguments, and errors are checked once at the end, since errors of a stream persist until it is waited for.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_void_p
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Step = Callable[[], object]

THREAD_LOCAL = 1  # CUstreamCaptureMode: calls of other threads do not end the capture
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class Driver:
    """``libcuda.so.1`` with the device's primary context current in this thread."""

    name = "ctypes"

    def __init__(self, device: int = 0) -> None:
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.retain(device)

    def retain(self, device: int) -> None:
        """Retain the primary context and make it current."""
        handle, self.primary = c_int(), c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", byref(handle), device)
        self.call("cuDevicePrimaryCtxRetain", byref(self.primary), handle)
        self.make_current()

    def make_current(self) -> None:
        """Make the primary context current again."""
        self.call("cuCtxSetCurrent", self.primary)

    def close(self) -> None:
        """Release what must be released before the process exits. This class has nothing to release."""

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver; raise ``RuntimeError`` for any error code."""
        code = getattr(self.driver, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} failed with CUDA error {code}")

    def memory(self) -> tuple[int, int]:
        """Return free and total bytes of the device."""
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def alloc(self, size: int) -> int:
        """Return the address of ``size`` bytes of device memory, allocated until the process exits."""
        address = c_void_p()
        self.call("cuMemAlloc_v2", byref(address), c_size_t(size))
        return int(address.value or 0)

    def pinned(self, size: int) -> Bytes:
        """Return ``size`` bytes of page-locked host memory."""
        address = c_void_p()
        self.call("cuMemHostAlloc", byref(address), c_size_t(size), c_uint(0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address.value or 0)))

    def stream(self) -> Any:
        """Return a new stream."""
        handle = c_void_p()
        self.call("cuStreamCreate", byref(handle), c_uint(NON_BLOCKING))
        return handle

    def handle(self, stream: Any) -> int:
        """Return the stream as an integer, as TensorRT expects it."""
        return int(stream.value)

    def event(self) -> Any:
        """Return a new event that records time."""
        handle = c_void_p()
        self.call("cuEventCreate", byref(handle), c_uint(0))
        return handle

    def record(self, event: Any, stream: Any) -> Step:
        """Return a call that records the event on the stream."""
        return partial(self.driver.cuEventRecord, event, stream)

    def between(self, first: Any, second: Any) -> float:
        """Return the seconds between two events that have occurred."""
        milliseconds = c_float()
        self.call("cuEventElapsedTime", byref(milliseconds), first, second)
        return milliseconds.value / 1000

    def wait(self, stream: Any) -> Step:
        """Return a call that waits for the stream."""
        return partial(self.driver.cuStreamSynchronize, stream)

    def copy_in(self, device: int, host: Bytes, stream: Any) -> Step:
        """Return a call that queues a copy to the device."""
        arguments = (c_void_p(device), c_void_p(host.ctypes.data), c_size_t(host.nbytes), stream)
        return partial(self.driver.cuMemcpyHtoDAsync_v2, *arguments)

    def copy_out(self, host: Bytes, device: int, stream: Any) -> Step:
        """Return a call that queues a copy from the device."""
        arguments = (c_void_p(host.ctypes.data), c_void_p(device), c_size_t(host.nbytes), stream)
        return partial(self.driver.cuMemcpyDtoHAsync_v2, *arguments)

    def check(self) -> None:
        """Raise ``RuntimeError`` if an earlier operation failed."""
        self.call("cuCtxSynchronize")

    def capture(self, stream: Any, work: Step) -> Step:
        """Return a call that launches what ``work`` queues on ``stream``, as a graph."""
        handle = c_void_p(self.handle(stream))
        graph, ready = c_void_p(), c_void_p()
        self.call("cuStreamBeginCapture_v2", handle, c_int(THREAD_LOCAL))
        work()
        self.call("cuStreamEndCapture", handle, byref(graph))
        self.call("cuGraphInstantiateWithFlags", byref(ready), graph, ctypes.c_ulonglong(0))
        return partial(self.driver.cuGraphLaunch, ready, handle)


class PyCuda(Driver):
    """pycuda's objects on the retained primary context; graphs, which it lacks, go through the driver."""

    name = "pycuda"

    def retain(self, device: int) -> None:
        """Push the context; it must be popped before the process exits."""
        import pycuda.driver

        self.cuda = pycuda.driver
        self.cuda.init()
        self.context = self.cuda.Device(device).retain_primary_context()
        self.context.push()
        self.allocations: list[Any] = []

    def alloc(self, size: int) -> int:
        """As ``Driver.alloc``, through pycuda; this object keeps the memory alive."""
        self.allocations.append(self.cuda.mem_alloc(size))
        return int(self.allocations[-1])

    def pinned(self, size: int) -> Bytes:
        """As ``Driver.pinned``, through pycuda."""
        array: Bytes = self.cuda.pagelocked_empty(size, np.uint8)
        return array

    def stream(self) -> Any:
        """As ``Driver.stream``, through pycuda."""
        return self.cuda.Stream(NON_BLOCKING)

    def handle(self, stream: Any) -> int:
        """As ``Driver.handle``."""
        return int(stream.handle)

    def event(self) -> Any:
        """As ``Driver.event``, through pycuda."""
        return self.cuda.Event()

    def record(self, event: Any, stream: Any) -> Step:
        """As ``Driver.record``, through pycuda."""
        return partial(event.record, stream)

    def between(self, first: Any, second: Any) -> float:
        """As ``Driver.between``, through pycuda, which measures in milliseconds."""
        return float(second.time_since(first)) / 1000

    def wait(self, stream: Any) -> Step:
        """As ``Driver.wait``, through pycuda."""
        step: Step = stream.synchronize
        return step

    def copy_in(self, device: int, host: Bytes, stream: Any) -> Step:
        """As ``Driver.copy_in``, through pycuda."""
        return partial(self.cuda.memcpy_htod_async, device, host, stream)

    def copy_out(self, host: Bytes, device: int, stream: Any) -> Step:
        """As ``Driver.copy_out``, through pycuda."""
        return partial(self.cuda.memcpy_dtoh_async, host, device, stream)

    def check(self) -> None:
        """As ``Driver.check``, through pycuda, which raises its own error."""
        self.context.synchronize()

    def close(self) -> None:
        """Pop the context."""
        self.context.pop()


BINDINGS = {"ctypes": Driver, "pycuda": PyCuda}
