"""A simulated GPU and engine that record the order of calls; streams are queues that ``synchronize`` executes.

They replace CUDA and TensorRT only in tests of our own bookkeeping.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.agent.failure import ENGINE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt


class Memory:
    """Host or device memory; both are in this process."""

    def __init__(self, gpu: Gpu, nbytes: int) -> None:
        self.gpu, self.nbytes = gpu, nbytes
        self.array = np.zeros(max(1, nbytes), np.uint8)
        self.address = int(self.array.ctypes.data)
        gpu.live[self.address] = self

    def free(self) -> None:
        """Free the memory; freeing it twice is allowed, as with the real class."""
        self.gpu.live.pop(self.address, None)


class Stream:
    """A queue of work."""

    def __init__(self, gpu: Gpu, handle: int) -> None:
        self.gpu, self.handle = gpu, handle
        self.queue: list[tuple[str, Callable[[], None]]] = []
        self.captured: list[tuple[str, Callable[[], None]]] | None = None

    def put(self, name: str, work: Callable[[], None]) -> None:
        """Queue or capture work."""
        self.gpu.calls.append(name)
        (self.queue if self.captured is None else self.captured).append((name, work))

    def synchronize(self) -> None:
        """Execute all queued work."""
        self.gpu.calls.append("synchronize")
        if self.gpu.fault is not None:
            raise self.gpu.fault
        while self.queue:
            self.queue.pop(0)[1]()

    def close(self) -> None:
        """Remove the stream."""
        self.gpu.streams.pop(self.handle, None)


class Event:
    """An event; its time is the number of pieces of work done before it."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.at = 0

    def record(self, stream: Stream) -> None:
        """Record the event on the stream."""
        stream.put("event", lambda: setattr(self, "at", len(self.gpu.done)))

    def seconds_since(self, other: Event) -> float:
        """Return the number of pieces of work between the two events."""
        return float(self.at - other.at)

    def close(self) -> None:
        """Do nothing."""


class Gpu:
    """The part of ``hil.agent.runtimes.cuda.Cuda`` that engines use."""

    binding, name, sm, driver = "ctypes", "Make-believe", "8.7", "12.2"

    def __init__(self) -> None:
        self.live: dict[int, Memory] = {}
        self.streams: dict[int, Stream] = {}
        self.calls: list[str] = []
        self.done: list[str] = []
        self.fault: Failure | None = None
        self.capturable = True
        self.open = True

    def alloc(self, nbytes: int) -> Memory:
        """Return device memory."""
        return Memory(self, nbytes)

    pin = alloc

    def stream(self) -> Stream:
        """Return a queue."""
        stream = Stream(self, 1 + len(self.streams))
        self.streams[stream.handle] = stream
        return stream

    def event(self) -> Event:
        """Return an event."""
        return Event(self)

    def _copy(self, name: str, to: int, source: int, nbytes: int, stream: Stream) -> None:
        def work() -> None:
            self.done.append(name)
            ctypes.memmove(to, source, nbytes)

        stream.put(name, work)

    def copy_in(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """Queue a copy to the device."""
        self._copy("in", to, source, nbytes, stream)

    def copy_out(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """Queue a copy from the device."""
        self._copy("out", to, source, nbytes, stream)

    def copy_within(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """Queue a copy on the device."""
        self._copy("within", to, source, nbytes, stream)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Any:
        """Return what ``work`` queues, for repeated launches."""
        self.calls.append("capture")
        stream.captured = []
        try:
            work()
            if not self.capturable:
                raise Failure(ENGINE, "cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901)")
            captured = list(stream.captured)
        finally:
            stream.captured = None

        def launch(on: Stream) -> None:
            self.calls.append("launch")
            on.queue.extend(captured)

        return SimpleNamespace(launch=launch, close=lambda: self.calls.append("drop"))

    def memory_info(self) -> tuple[int, int]:
        """Return free and total memory in bytes."""
        return 1000 - len(self.live), 1000

    def synchronize(self) -> None:
        """Execute all queues."""
        for stream in list(self.streams.values()):
            stream.synchronize()

    def close(self) -> None:
        """Mark the GPU as closed."""
        self.open = False


def at(address: int, shape: Sequence[int], dtype: str) -> npt.NDArray[Any]:
    """Return the array at this address."""
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    memory = memoryview((ctypes.c_ubyte * max(1, size)).from_address(address))
    flat: npt.NDArray[Any] = np.frombuffer(memory, np.dtype(dtype), count)
    return flat.reshape(shape)


class Named:
    """An enum member."""

    def __init__(self, name: str) -> None:
        self.name = name


class Plan:
    """An engine ``y = 2 x`` of ``x: float32[-1, 3]``, batches 1 to 8; ``dependent`` adds ``z``, the positive values."""

    num_layers = 1
    num_optimization_profiles = 1
    device_memory_size = 4096

    def __init__(self, gpu: Gpu, *, dependent: bool = False, shared: bool = True, refuse: bool = False) -> None:
        self.gpu, self.dependent, self.shared, self.refuse = gpu, dependent, shared, refuse
        self.names = ["x", "y"] + ["z"] * dependent
        self.num_io_tensors = len(self.names)
        self.contexts = self.deserialized = 0

    def get_tensor_name(self, number: int) -> str:
        """As in TensorRT."""
        return self.names[number]

    def get_tensor_mode(self, name: str) -> Named:
        """As in TensorRT."""
        return Named("INPUT" if name == "x" else "OUTPUT")

    def get_tensor_location(self, name: str) -> Named:
        """As in TensorRT."""
        assert name in self.names
        return Named("DEVICE")

    def get_tensor_format(self, name: str) -> Named:
        """As in TensorRT."""
        assert name in self.names
        return Named("LINEAR")

    def get_tensor_dtype(self, name: str) -> Named:
        """As in TensorRT."""
        assert name in self.names
        return Named("FLOAT")

    def get_tensor_shape(self, name: str) -> list[int]:
        """As in TensorRT."""
        return [-1] if name == "z" else [-1, 3]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        """As in TensorRT."""
        assert (name, profile) == ("x", 0)
        return [[1, 3], [4, 3], [8, 3]]

    def create_execution_context(self) -> Context:
        """As in TensorRT before 10: only the first context has the profile, unless it is shared."""
        self.contexts += 1
        return Context(self, 0 if self.shared or self.contexts == 1 else -1)

    def create_engine_inspector(self) -> Any:
        """Return an inspector that lists one layer, without detail."""
        return SimpleNamespace(get_engine_information=lambda _: '{"Layers": ["double"], "Bindings": ["x", "y"]}')


class Context:
    """An execution context that records its settings and computes with those at the time of the enqueue."""

    def __init__(self, plan: Plan, profile: int) -> None:
        self.plan = plan
        self.active_optimization_profile = profile
        self.shape: tuple[int, ...] | None = None
        self.addresses: dict[str, int] = {}
        self.allocator: Any = None
        self.profiler: Any = None
        self.calls: list[str] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Set the shape if it is within the profile; refuse it otherwise."""
        self.calls.append(f"shape {name}")
        if not 1 <= shape[0] <= 8:
            return False
        self.shape = shape
        return True

    def infer_shapes(self) -> list[str]:
        """Return the names of inputs without a shape."""
        return [] if self.shape else ["x"]

    def get_tensor_shape(self, name: str) -> list[int]:
        """Return the shape, unknown for ``z``."""
        assert self.shape is not None
        return [-1] if name == "z" else list(self.shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Store the address."""
        assert address in self.plan.gpu.live
        self.addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        """Store the allocator."""
        assert name == "z"
        self.allocator = allocator
        return True

    def execute_async_v3(self, handle: int) -> bool:
        """Queue the doubling of ``x``."""
        if self.plan.refuse:
            return False
        stream, shape = self.plan.gpu.streams[handle], self.shape
        assert shape is not None
        source, to = self.addresses["x"], self.addresses["y"]

        def work() -> None:
            self.plan.gpu.done.append("work")
            at(to, shape, "float32")[...] = 2 * at(source, shape, "float32")

        stream.put("work", work)
        if self.profiler is not None:
            self.profiler.report_layer_time("double", 0.5)
        return self._answer(stream, source, shape) if self.plan.dependent else True

    def _answer(self, stream: Stream, source: int, shape: tuple[int, ...]) -> bool:
        stream.synchronize()
        x = at(source, shape, "float32")
        positive = x[x > 0]
        address = self.allocator.reallocate_output_async("z", 0, positive.nbytes, 256, stream.handle)
        if not address:
            return False
        at(address, positive.shape, "float32")[...] = positive
        self.allocator.notify_shape("z", list(positive.shape))
        return True


class Log:
    """A log with the errors of a test."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def errors(self) -> str:
        """Return the errors, as ``Journal`` does."""
        return self.text

    def warnings(self) -> list[str]:
        """Return no warnings."""
        return []

    def clear(self) -> None:
        """Drop the errors."""
        self.text = ""


def module(plan: Any) -> Any:
    """Return a ``tensorrt`` module whose runtime always returns ``plan``."""

    class Base:
        """The base class of users' callbacks."""

    def deserialized(_: Any) -> Any:
        plan.contexts = 0  # another engine, so its first context is again the first
        plan.deserialized = getattr(plan, "deserialized", 0) + 1
        return plan

    runtime = SimpleNamespace(deserialize_cuda_engine=deserialized)
    return SimpleNamespace(
        Runtime=lambda _: runtime,
        IOutputAllocator=Base,
        IProfiler=Base,
        LayerInformationFormat=SimpleNamespace(JSON=1),
    )
