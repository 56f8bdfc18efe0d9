"""CUDA through pycuda, on the primary context; graphs, which pycuda lacks, use libcuda."""

import contextlib
import ctypes
from typing import Any, ClassVar, Dict, Tuple

from .cuda_interface import NON_BLOCKING, Cuda, DeviceBuffer, Event, PinnedBuffer, Stream
from .device import Device
from .error_codes import OUT_OF_MEMORY, CudaError
from .functions import Functions

MOST_VIEWS = 1024
LAST_CODE = 1000  # CUDA_ERROR_UNKNOWN is 999, the highest


def code_of(functions: Functions, text: str) -> int:
    """Return the driver's code for a pycuda message (``cuMemAlloc failed: out of memory``); 0 if no code matches."""
    sentence = text.partition("failed:")[2].partition(" - ")[0].strip()
    for code in range(1, LAST_CODE):
        if sentence and functions.text_of(code) == sentence:
            return code
    return 0


def translated(functions: Functions, driver: Any, error: Exception) -> CudaError:
    """Return a pycuda exception as a ``CudaError``, whose code is 0 if it cannot be determined."""
    text = str(error)
    call = text.partition(" failed")[0] if " failed" in text else type(error).__name__
    code = OUT_OF_MEMORY if isinstance(error, driver.MemoryError) else code_of(functions, text)
    # An error without a known code may still have lost the context; then each later call returns its code.
    code = code or functions["cuCtxSynchronize"]()
    if code:
        return functions.error(call, code)
    return CudaError(call, 0, type(error).__name__, text)


class PyCudaStream(Stream):
    """A pycuda stream; ``raw`` is pycuda's object."""

    def __init__(self, cuda: "PyCuda") -> None:
        self._cuda = cuda
        self.raw = cuda.attempt(cuda.driver_module.Stream, NON_BLOCKING)
        self.handle = int(self.raw.handle)
        self._synchronize = self.raw.synchronize

    def synchronize(self) -> None:
        try:
            self._synchronize()
        except self._cuda.error as error:
            raise self._cuda.translated(error) from None

    def close(self) -> None:
        self.raw = self._synchronize = None  # dropping the last reference destroys the stream
        self.handle = 0


class PyCudaEvent(Event):
    """A pycuda event; pycuda does not expose its handle."""

    handle = 0

    def __init__(self, cuda: "PyCuda") -> None:
        self._cuda = cuda
        self.raw = cuda.attempt(cuda.driver_module.Event)
        self._record = self.raw.record

    def record(self, stream: Any) -> None:
        try:
            self._record(stream.raw)
        except self._cuda.error as error:
            raise self._cuda.translated(error) from None

    def synchronize(self) -> None:
        self._cuda.attempt(self.raw.synchronize)

    def done(self) -> bool:
        return bool(self._cuda.attempt(self.raw.query))

    def seconds_since(self, other: Any) -> float:
        try:
            return float(self.raw.time_since(other.raw)) * 1e-3
        except self._cuda.error as error:
            raise self._cuda.translated(error) from None

    def close(self) -> None:
        self.raw = self._record = None


class PrimaryContext:
    """A device's primary context on pycuda's stack, pushed once per process however often it is opened."""

    opened: ClassVar[Dict[int, "PrimaryContext"]] = {}

    def __init__(self, driver: Any, device: int) -> None:
        self.error = driver.Error
        self.device = device
        self.users = 0
        self.context = driver.Device(device).retain_primary_context()
        self.context.push()

    @classmethod
    def acquire(cls, driver: Any, device: int) -> "PrimaryContext":
        """Return the device's context; open it if it has no user yet."""
        if device not in cls.opened:
            cls.opened[device] = cls(driver, device)
        cls.opened[device].users += 1
        return cls.opened[device]

    def release(self, functions: Functions) -> None:
        """Pop and release the context after its last user. Raise nothing."""
        self.users -= 1
        if self.users:
            return
        del self.opened[self.device]
        before, after, popped = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        with contextlib.suppress(self.error):
            self.context.pop()
            functions["cuCtxGetCurrent"](ctypes.byref(before))
            self.context.detach()
        # pycuda makes a context current again to detach it. Destroying a context would also pop it; releasing a
        # primary context does not, so it is popped here.
        functions["cuCtxGetCurrent"](ctypes.byref(after))
        if after.value is not None and before.value is None:
            functions["cuCtxPopCurrent"](ctypes.byref(popped))


class PyCuda(Cuda):
    """The primary context through pycuda."""

    binding = "pycuda"

    def __init__(self, functions: Functions, device: Device, driver: Any) -> None:
        self.functions = functions
        self.driver_module = driver
        self.error = driver.Error
        self.attempt(driver.init)
        self._primary: Any = self.attempt(PrimaryContext.acquire, driver, device.number)
        super().__init__(functions, device)
        self._views: Dict[Tuple[int, int], Any] = {}
        self._in = driver.memcpy_htod_async
        self._out = driver.memcpy_dtoh_async
        self._within = driver.memcpy_dtod_async

    def translated(self, error: Exception) -> CudaError:
        """Return the exception as a ``CudaError``; see the function ``translated``."""
        return translated(self.functions, self.driver_module, error)

    def attempt(self, function: Any, *arguments: Any) -> Any:
        """Call a function of pycuda. Raise ``CudaError`` if it fails."""
        try:
            return function(*arguments)
        except self.error as error:
            raise self.translated(error) from None

    def alloc(self, nbytes: int) -> DeviceBuffer:
        allocation = self.attempt(self.driver_module.mem_alloc, max(1, nbytes))
        return DeviceBuffer(int(allocation), nbytes, allocation.free)

    def pin(self, nbytes: int) -> PinnedBuffer:
        import numpy as np

        array = self.attempt(self.driver_module.pagelocked_empty, max(1, nbytes), np.uint8)
        return PinnedBuffer(int(array.ctypes.data), array[:nbytes], array.base.free)

    def stream(self) -> Stream:
        return PyCudaStream(self)

    def event(self) -> Event:
        return PyCudaEvent(self)

    def _view(self, address: int, nbytes: int) -> Any:
        """Return host memory as the buffer that pycuda requires; cached."""
        try:
            return self._views[address, nbytes]
        except KeyError:
            if len(self._views) >= MOST_VIEWS:
                self._views.clear()
            view = self._views[address, nbytes] = (ctypes.c_ubyte * nbytes).from_address(address)
            return view

    def copy_in(self, device_address: int, host_address: int, nbytes: int, stream: Any) -> None:
        try:
            self._in(device_address, self._view(host_address, nbytes), stream.raw)
        except self.error as error:
            raise self.translated(error) from None

    def copy_out(self, host_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        try:
            self._out(self._view(host_address, nbytes), device_address, stream.raw)
        except self.error as error:
            raise self.translated(error) from None

    def copy_within(self, to_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        try:
            self._within(to_address, device_address, nbytes, stream.raw)
        except self.error as error:
            raise self.translated(error) from None

    def memory_info(self) -> Tuple[int, int]:
        free, total = self.attempt(self.driver_module.mem_get_info)
        return int(free), int(total)

    def synchronize(self) -> None:
        self.attempt(self.driver_module.Context.synchronize)

    def _release(self) -> None:
        primary, self._primary = self._primary, None
        if primary is not None:
            primary.release(self.functions)
