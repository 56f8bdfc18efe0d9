"""A make-believe GPU and engine that keep the order of calls: streams are queues that ``synchronize`` works off.

They stand in for CUDA and TensorRT only where the rule under test is our own bookkeeping (what is copied, set
or captured when, what is given back); what the real ones do with it is tried on a real GPU.
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
    """Host or device memory; both are this process's own."""

    def __init__(self, gpu: Gpu, nbytes: int) -> None:
        self.gpu, self.nbytes = gpu, nbytes
        self.array = np.zeros(max(1, nbytes), np.uint8)
        self.address = int(self.array.ctypes.data)
        gpu.live[self.address] = self

    def free(self) -> None:
        """Twice is fine, as for the real ones."""
        self.gpu.live.pop(self.address, None)


class Stream:
    """A queue of work."""

    def __init__(self, gpu: Gpu, handle: int) -> None:
        self.gpu, self.handle = gpu, handle
        self.queue: list[tuple[str, Callable[[], None]]] = []
        self.captured: list[tuple[str, Callable[[], None]]] | None = None

    def put(self, name: str, work: Callable[[], None]) -> None:
        """Queues work, or captures it."""
        self.gpu.calls.append(name)
        (self.queue if self.captured is None else self.captured).append((name, work))

    def synchronize(self) -> None:
        """Does all that is queued."""
        self.gpu.calls.append("synchronize")
        if self.gpu.fault is not None:
            raise self.gpu.fault
        while self.queue:
            self.queue.pop(0)[1]()

    def close(self) -> None:
        """Nothing to give back."""
        self.gpu.streams.pop(self.handle, None)


class Event:
    """Its time is the number of calls before it."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.at = 0

    def record(self, stream: Stream) -> None:
        """Marks the stream."""
        stream.put("event", lambda: setattr(self, "at", len(self.gpu.done)))

    def seconds_since(self, other: Event) -> float:
        """Pieces of work between the two."""
        return float(self.at - other.at)

    def close(self) -> None:
        """Nothing to give back."""


class Gpu:
    """The interface of ``hil.agent.runtimes.cuda.Cuda`` as far as engines use it."""

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
        """Device memory."""
        return Memory(self, nbytes)

    pin = alloc

    def stream(self) -> Stream:
        """A queue."""
        made = Stream(self, 1 + len(self.streams))
        self.streams[made.handle] = made
        return made

    def event(self) -> Event:
        """A mark."""
        return Event(self)

    def _copy(self, name: str, to: int, source: int, nbytes: int, stream: Stream) -> None:
        def work() -> None:
            self.done.append(name)
            ctypes.memmove(to, source, nbytes)

        stream.put(name, work)

    def copy_in(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """To the device."""
        self._copy("in", to, source, nbytes, stream)

    def copy_out(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """From the device."""
        self._copy("out", to, source, nbytes, stream)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Any:
        """What ``work`` queues, to be launched again and again."""
        self.calls.append("capture")
        stream.captured = []
        try:
            work()
            if not self.capturable:
                raise Failure(ENGINE, "cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901)")
            held = list(stream.captured)
        finally:
            stream.captured = None

        def launch(on: Stream) -> None:
            self.calls.append("launch")
            on.queue.extend(held)

        return SimpleNamespace(launch=launch, close=lambda: self.calls.append("drop"))

    def memory_info(self) -> tuple[int, int]:
        """Free and total."""
        return 1000 - len(self.live), 1000

    def synchronize(self) -> None:
        """Works off all queues."""
        for stream in list(self.streams.values()):
            stream.synchronize()

    def close(self) -> None:
        """The end."""
        self.open = False


def at(address: int, shape: Sequence[int], dtype: str) -> npt.NDArray[Any]:
    """The tensor that lies there."""
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    memory = memoryview((ctypes.c_ubyte * max(1, size)).from_address(address))
    whole: npt.NDArray[Any] = np.frombuffer(memory, np.dtype(dtype), count)
    return whole.reshape(shape)


class Named:
    """An enum member."""

    def __init__(self, name: str) -> None:
        self.name = name


class Plan:
    """An engine ``y = 2 x`` of ``x: float32[-1, 3]``, batches 1 to 8; ``dependent`` adds ``z``, the positive ones."""

    num_layers = 1
    num_optimization_profiles = 1
    device_memory_size = 4096

    def __init__(self, gpu: Gpu, *, dependent: bool = False, shared: bool = True, refuse: bool = False) -> None:
        self.gpu, self.dependent, self.shared, self.refuse = gpu, dependent, shared, refuse
        self.names = ["x", "y"] + ["z"] * dependent
        self.num_io_tensors = len(self.names)
        self.contexts = self.deserialized = 0

    def get_tensor_name(self, number: int) -> str:
        """As TensorRT's."""
        return self.names[number]

    def get_tensor_mode(self, name: str) -> Named:
        """As TensorRT's."""
        return Named("INPUT" if name == "x" else "OUTPUT")

    def get_tensor_location(self, name: str) -> Named:
        """As TensorRT's."""
        assert name in self.names
        return Named("DEVICE")

    def get_tensor_format(self, name: str) -> Named:
        """As TensorRT's."""
        assert name in self.names
        return Named("LINEAR")

    def get_tensor_dtype(self, name: str) -> Named:
        """As TensorRT's."""
        assert name in self.names
        return Named("FLOAT")

    def get_tensor_shape(self, name: str) -> list[int]:
        """As TensorRT's."""
        return [-1] if name == "z" else [-1, 3]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        """As TensorRT's."""
        assert (name, profile) == ("x", 0)
        return [[1, 3], [4, 3], [8, 3]]

    def create_execution_context(self) -> Context:
        """As TensorRT's before 10: the first context has the profile, unless it is shared."""
        self.contexts += 1
        return Context(self, 0 if self.shared or self.contexts == 1 else -1)

    def create_engine_inspector(self) -> Any:
        """One layer, with no detail."""
        return SimpleNamespace(get_engine_information=lambda _: '{"Layers": ["double"], "Bindings": ["x", "y"]}')


class Context:
    """Keeps what it is told, and computes with what it was told when it was enqueued."""

    def __init__(self, plan: Plan, profile: int) -> None:
        self.plan = plan
        self.active_optimization_profile = profile
        self.shape: tuple[int, ...] | None = None
        self.addresses: dict[str, int] = {}
        self.allocator: Any = None
        self.profiler: Any = None
        self.told: list[str] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Within the profile or refused."""
        self.told.append(f"shape {name}")
        if not 1 <= shape[0] <= 8:
            return False
        self.shape = shape
        return True

    def infer_shapes(self) -> list[str]:
        """Names that lack a shape."""
        return [] if self.shape else ["x"]

    def get_tensor_shape(self, name: str) -> list[int]:
        """Known but for ``z``."""
        assert self.shape is not None
        return [-1] if name == "z" else list(self.shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Kept."""
        assert address in self.plan.gpu.live
        self.addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        """Kept."""
        assert name == "z"
        self.allocator = allocator
        return True

    def execute_async_v3(self, handle: int) -> bool:
        """Doubles."""
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
        found = x[x > 0]
        address = self.allocator.reallocate_output_async("z", 0, found.nbytes, 256, stream.handle)
        if not address:
            return False
        at(address, found.shape, "float32")[...] = found
        self.allocator.notify_shape("z", list(found.shape))
        return True


class Log:
    """Errors that a test put there."""

    def __init__(self, said: str = "") -> None:
        self.said = said

    def errors(self) -> str:
        """As the journal's."""
        return self.said

    def warnings(self) -> list[str]:
        """None."""
        return []

    def clear(self) -> None:
        """Forgets."""
        self.said = ""


def module(plan: Any) -> Any:
    """A ``tensorrt`` whose runtime always gives ``plan``."""

    class Base:
        """Of what users derive from."""

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
