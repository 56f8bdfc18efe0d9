"""What the agent needs of CUDA, whichever Python binding does it."""

import atexit
from abc import ABC, abstractmethod
from ctypes import byref, c_void_p, create_string_buffer
from typing import Any, Callable, Tuple

from .device import Device
from .functions import Functions

THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads call does not break the capture
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: not ordered after the legacy default stream


class DeviceBuffer:
    """``nbytes`` on the GPU at ``address``."""

    def __init__(self, address: int, nbytes: int, free: Callable[[], None]) -> None:
        self.address = address
        self.nbytes = nbytes
        self._free: Any = free

    def free(self) -> None:
        """Gives the memory back; may be called twice."""
        free, self._free = self._free, None
        if free is not None:
            free()


class PinnedBuffer(DeviceBuffer):
    """``nbytes`` of page-locked host memory; ``array`` shows it as uint8, shape (nbytes,), until it is freed."""

    def __init__(self, address: int, array: Any, free: Callable[[], None]) -> None:
        super().__init__(address, int(array.nbytes), free)
        self.array = array

    def free(self) -> None:
        """Gives the memory back; ``array`` is None from here on, older views of it must not be used."""
        self.array = None
        super().free()


class Stream(ABC):
    """A stream of its own (non-blocking); ``handle`` is the CUstream as an integer."""

    handle: int

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for all that was put on it. Raises ``CudaError`` for what went wrong there."""

    @abstractmethod
    def close(self) -> None:
        """Destroys it; may be called twice."""


class Event(ABC):
    """A mark on a stream, with a clock of about half a microsecond (cuEventElapsedTime).

    ``handle`` is the CUevent as an integer; 0 where the binding does not give it.
    """

    handle: int

    @abstractmethod
    def record(self, stream: Any) -> None:
        """Marks what is on ``stream`` so far."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for the mark."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the mark was passed."""

    @abstractmethod
    def seconds_since(self, other: Any) -> float:
        """Seconds on the device from the event ``other`` to this one; both must have been passed."""

    @abstractmethod
    def close(self) -> None:
        """Destroys it; may be called twice."""


class Graph:
    """Work that was captured from a stream and can be launched as one."""

    def __init__(self, functions: Functions, handle: c_void_p) -> None:
        self._functions = functions
        self._launch = functions["cuGraphLaunch"]
        self._handle = handle

    def launch(self, stream: Stream) -> None:
        """Puts the whole graph on ``stream``."""
        code = self._launch(self._handle, stream.handle)
        if code:
            raise self._functions.error("cuGraphLaunch", code)

    def close(self) -> None:
        """Destroys it; may be called twice."""
        if self._handle:
            self._functions["cuGraphExecDestroy"](self._handle)
            self._handle = c_void_p()


class Cuda(ABC):
    """One GPU's primary context, current in this thread from opening to ``close``.

    Every method may raise ``CudaError``. The primary context is the one that TensorRT, the CUDA runtime and
    other libraries of the process use too, so that handles can be passed between them.
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
        # A process that ends with a context pushed is aborted by pycuda, so the end of the process closes too.
        atexit.register(self.close)

    @abstractmethod
    def alloc(self, nbytes: int) -> DeviceBuffer:
        """Memory on the GPU; ``nbytes`` of 0 gives a buffer that has an address."""

    @abstractmethod
    def pin(self, nbytes: int) -> PinnedBuffer:
        """Page-locked memory of the host, which copies reach without the driver staging them."""

    @abstractmethod
    def stream(self) -> Stream:
        """A new stream."""

    @abstractmethod
    def event(self) -> Event:
        """A new event."""

    @abstractmethod
    def copy_in(self, device_address: int, host_address: int, nbytes: int, stream: Any) -> None:
        """Puts a copy to the GPU on ``stream``; the host's memory must stay as it is until it is done."""

    @abstractmethod
    def copy_out(self, host_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        """Puts a copy from the GPU on ``stream``."""

    @abstractmethod
    def memory_info(self) -> Tuple[int, int]:
        """Free and total bytes as the driver tells them: of the whole GPU; of the whole machine if integrated."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for everything on the GPU."""

    @abstractmethod
    def _leave(self) -> None:
        """Lets go of the context; raises nothing."""

    def close(self) -> None:
        """Takes the context off this thread and releases it; may be called twice. Buffers go before."""
        atexit.unregister(self.close)
        self._leave()

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """What ``work`` puts on ``stream``, as a graph; nothing of it is executed yet.

        ``work`` must not allocate or synchronize. Raises what it raised or ``CudaError``; the stream is
        usable again either way.
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
    made = c_void_p()
    if functions.has("cuGraphInstantiateWithFlags"):
        functions.call("cuGraphInstantiateWithFlags", byref(made), graph, 0)
    else:
        log = create_string_buffer(1)
        functions.call("cuGraphInstantiate", byref(made), graph, byref(c_void_p()), log, 0)
    return made
