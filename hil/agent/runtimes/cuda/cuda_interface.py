"""The CUDA interface that the agent uses, independent of the Python binding."""

import atexit
from abc import ABC, abstractmethod
from ctypes import byref, c_void_p, create_string_buffer
from typing import Any, Callable, Tuple

from .device import Device
from .functions import Functions

THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: calls of other threads do not invalidate the capture
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: not ordered after the legacy default stream


class DeviceBuffer:
    """``nbytes`` bytes of GPU memory at ``address``."""

    def __init__(self, address: int, nbytes: int, free: Callable[[], None]) -> None:
        self.address = address
        self.nbytes = nbytes
        self._free: Any = free

    def free(self) -> None:
        """Free the memory; may be called twice."""
        free, self._free = self._free, None
        if free is not None:
            free()


class PinnedBuffer(DeviceBuffer):
    """``nbytes`` of page-locked host memory; until ``free``, ``array`` is a uint8 view of it, shape (nbytes,)."""

    def __init__(self, address: int, array: Any, free: Callable[[], None]) -> None:
        super().__init__(address, int(array.nbytes), free)
        self.array = array

    def free(self) -> None:
        """Free the memory. ``array`` is None afterwards, and older views of it must not be used."""
        self.array = None
        super().free()


class Stream(ABC):
    """A non-blocking stream; ``handle`` is the CUstream as an integer."""

    handle: int

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all work queued on the stream. Raise ``CudaError`` if any of it failed."""

    @abstractmethod
    def close(self) -> None:
        """Destroy the stream; may be called twice."""


class Event(ABC):
    """A marker on a stream, whose time the device records to about half a microsecond (cuEventElapsedTime).

    ``handle`` is the CUevent as an integer; 0 if the binding does not expose it.
    """

    handle: int

    @abstractmethod
    def record(self, stream: Any) -> None:
        """Record the event on ``stream``, after the work that is queued there so far."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the event has occurred."""

    @abstractmethod
    def done(self) -> bool:
        """Return whether the event has occurred."""

    @abstractmethod
    def seconds_since(self, other: Any) -> float:
        """Return the seconds on the device from event ``other`` to this one; both must have occurred."""

    @abstractmethod
    def close(self) -> None:
        """Destroy the event; may be called twice."""


class Graph:
    """Work captured from a stream that is launched as a whole."""

    def __init__(self, functions: Functions, handle: c_void_p) -> None:
        self._functions = functions
        self._launch = functions["cuGraphLaunch"]
        self._handle = handle

    def launch(self, stream: Stream) -> None:
        """Queue the whole graph on ``stream``. Raise ``CudaError`` if this fails."""
        code = self._launch(self._handle, stream.handle)
        if code:
            raise self._functions.error("cuGraphLaunch", code)

    def close(self) -> None:
        """Destroy the graph; may be called twice."""
        if self._handle:
            self._functions["cuGraphExecDestroy"](self._handle)
            self._handle = c_void_p()


class Cuda(ABC):
    """One GPU's primary context, current in this thread from opening until ``close``.

    Every method may raise ``CudaError``. All libraries of the process share this context and its handles.
    """

    binding = ""

    def __init__(self, functions: Functions, device: Device) -> None:
        self.functions = functions
        self.name = device.name
        self.sm = device.sm
        self.sms = device.sms
        self.driver = device.driver
        self.integrated = device.integrated
        self.device = device.number
        # pycuda aborts a process that exits with a context on its stack, so close at exit too.
        atexit.register(self.close)

    @abstractmethod
    def alloc(self, nbytes: int) -> DeviceBuffer:
        """Return memory on the GPU; a buffer of 0 bytes has an address too."""

    @abstractmethod
    def pin(self, nbytes: int) -> PinnedBuffer:
        """Return page-locked host memory, which the driver copies without staging."""

    @abstractmethod
    def stream(self) -> Stream:
        """Return a new stream."""

    @abstractmethod
    def event(self) -> Event:
        """Return a new event."""

    @abstractmethod
    def copy_in(self, device_address: int, host_address: int, nbytes: int, stream: Any) -> None:
        """Queue a copy to the GPU on ``stream``; the host memory must not change until the copy is done."""

    @abstractmethod
    def copy_out(self, host_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        """Queue a copy from the GPU on ``stream``."""

    @abstractmethod
    def copy_within(self, to_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        """Queue a copy from one address on the GPU to another on ``stream``."""

    @abstractmethod
    def memory_info(self) -> Tuple[int, int]:
        """Return free and total bytes as the driver reports them: the GPU's, or the machine's for an integrated GPU."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all work on the GPU."""

    @abstractmethod
    def _release(self) -> None:
        """Release the context; raise nothing."""

    def close(self) -> None:
        """Remove the context from this thread and release it; may be called twice. Buffers must be freed before."""
        atexit.unregister(self.close)
        self._release()

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Return what ``work`` queues on ``stream`` as a graph, without executing it.

        ``work`` must not allocate or synchronize. Raise the exception of ``work``, or ``CudaError``; in both cases the
        stream is usable afterwards.
        """
        functions = self.functions
        functions.call("cuStreamBeginCapture", stream.handle, THREAD_LOCAL)
        graph = c_void_p()
        try:
            work()
        except BaseException:
            functions["cuStreamEndCapture"](stream.handle, byref(graph))
            _destroy(functions, graph)
            raise
        functions.call("cuStreamEndCapture", stream.handle, byref(graph))
        try:
            return Graph(functions, _instantiate(functions, graph))
        finally:
            _destroy(functions, graph)


def _destroy(functions: Functions, graph: c_void_p) -> None:
    if graph:
        functions["cuGraphDestroy"](graph)


def _instantiate(functions: Functions, graph: c_void_p) -> c_void_p:
    executable = c_void_p()
    if functions.has("cuGraphInstantiateWithFlags"):
        functions.call("cuGraphInstantiateWithFlags", byref(executable), graph, 0)
    else:
        log = create_string_buffer(1)
        functions.call("cuGraphInstantiate", byref(executable), graph, byref(c_void_p()), log, 0)
    return executable
