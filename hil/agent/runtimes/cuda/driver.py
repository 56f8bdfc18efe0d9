"""CUDA through ctypes, which needs only the driver on the target."""

import ctypes
from ctypes import byref, c_float, c_size_t, c_uint64, c_void_p
from functools import partial
from typing import Any, Tuple

from .cuda_interface import NON_BLOCKING, Cuda, DeviceBuffer, Event, PinnedBuffer, Stream
from .device import Device
from .functions import Functions

NOT_READY = 600  # CUDA_ERROR_NOT_READY


class DriverStream(Stream):
    """A CUstream."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        stream = c_void_p()
        functions.call("cuStreamCreate", byref(stream), NON_BLOCKING)
        self.handle = stream.value or 0
        self._synchronize = functions["cuStreamSynchronize"]

    def synchronize(self) -> None:
        code = self._synchronize(self.handle)
        if code:
            raise self._functions.error("cuStreamSynchronize", code)

    def close(self) -> None:
        if self.handle:
            self._functions["cuStreamDestroy"](self.handle)
            self.handle = 0


class DriverEvent(Event):
    """A CUevent."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        event = c_void_p()
        functions.call("cuEventCreate", byref(event), 0)
        self.handle = event.value or 0
        self._record = functions["cuEventRecord"]
        self._elapsed = functions["cuEventElapsedTime"]
        self._milliseconds = c_float()
        self._out = ctypes.pointer(self._milliseconds)

    def record(self, stream: Any) -> None:
        code = self._record(self.handle, stream.handle)
        if code:
            raise self._functions.error("cuEventRecord", code)

    def synchronize(self) -> None:
        self._functions.call("cuEventSynchronize", self.handle)

    def done(self) -> bool:
        code = self._functions["cuEventQuery"](self.handle)
        if code and code != NOT_READY:
            raise self._functions.error("cuEventQuery", code)
        return not code

    def seconds_since(self, other: Any) -> float:
        code = self._elapsed(self._out, other.handle, self.handle)
        if code:
            raise self._functions.error("cuEventElapsedTime", code)
        return self._milliseconds.value * 1e-3

    def close(self) -> None:
        if self.handle:
            self._functions["cuEventDestroy"](self.handle)
            self.handle = 0


class DriverCuda(Cuda):
    """The primary context through libcuda alone."""

    binding = "ctypes"

    def __init__(self, functions: Functions, device: Device) -> None:
        handle = ctypes.c_int()
        functions.call("cuDeviceGet", byref(handle), device.number)
        self._handle = handle.value
        self._context = c_void_p()
        functions.call("cuDevicePrimaryCtxRetain", byref(self._context), self._handle)
        try:
            functions.call("cuCtxPushCurrent", self._context)
        except BaseException:
            functions["cuDevicePrimaryCtxRelease"](self._handle)
            raise
        super().__init__(functions, device)
        self._in = functions["cuMemcpyHtoDAsync"]
        self._out = functions["cuMemcpyDtoHAsync"]
        self._within = functions["cuMemcpyDtoDAsync"]

    def alloc(self, nbytes: int) -> DeviceBuffer:
        address = c_uint64()
        self.functions.call("cuMemAlloc", byref(address), max(1, nbytes))
        return DeviceBuffer(address.value, nbytes, partial(self.functions["cuMemFree"], address.value))

    def pin(self, nbytes: int) -> PinnedBuffer:
        import numpy as np

        pointer = c_void_p()
        self.functions.call("cuMemHostAlloc", byref(pointer), max(1, nbytes), 0)
        address = pointer.value or 0
        array = np.frombuffer((ctypes.c_ubyte * max(1, nbytes)).from_address(address), np.uint8)[:nbytes]
        return PinnedBuffer(address, array, partial(self.functions["cuMemFreeHost"], address))

    def stream(self) -> Stream:
        return DriverStream(self.functions)

    def event(self) -> Event:
        return DriverEvent(self.functions)

    def copy_in(self, device_address: int, host_address: int, nbytes: int, stream: Any) -> None:
        code = self._in(device_address, host_address, nbytes, stream.handle)
        if code:
            raise self.functions.error("cuMemcpyHtoDAsync", code)

    def copy_out(self, host_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        code = self._out(host_address, device_address, nbytes, stream.handle)
        if code:
            raise self.functions.error("cuMemcpyDtoHAsync", code)

    def copy_within(self, to_address: int, device_address: int, nbytes: int, stream: Any) -> None:
        code = self._within(to_address, device_address, nbytes, stream.handle)
        if code:
            raise self.functions.error("cuMemcpyDtoDAsync", code)

    def memory_info(self) -> Tuple[int, int]:
        free, total = c_size_t(), c_size_t()
        self.functions.call("cuMemGetInfo", byref(free), byref(total))
        return free.value, total.value

    def synchronize(self) -> None:
        self.functions.call("cuCtxSynchronize")

    def _release(self) -> None:
        context, self._context = self._context, c_void_p()
        if not context:
            return
        current = c_void_p()
        self.functions["cuCtxGetCurrent"](byref(current))
        if current.value == context.value:  # do not pop another library's context from on top
            self.functions["cuCtxPopCurrent"](byref(current))
        self.functions["cuDevicePrimaryCtxRelease"](self._handle)
