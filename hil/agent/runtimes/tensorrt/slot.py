"""One inference in flight: an execution context, a stream, and the memory that both work on."""

import contextlib
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ...failure import ENGINE, UNSUPPORTED, Failure
from ..base import Bound, Feed
from .buffers import Grown, Pool, offsets, view, volume
from .outputs import Told, allocator
from .tensors import Shape, Tensor

Copy = Tuple[int, int, int]  # to, from, bytes
Key = Tuple[Any, ...]


class Made(NamedTuple):
    """What a slot works with. ``refusal(what, advice)`` makes the ``Failure`` with TensorRT's own words."""

    trt: Any
    cuda: Any
    tensors: Sequence[Tensor]
    pool: Pool
    graph: bool
    refusal: Callable[[str, str], Failure]


class Layout(NamedTuple):
    """How one set of input shapes runs: made when shapes change, then used again by every feed that has them.

    ``enqueue`` hands the work over (False where it is refused); ``results`` copies device to host; ``outputs``
    are views of page-locked memory; ``told`` are outputs whose shape is known only after the run.
    """

    enqueue: Callable[[], Any]
    results: List[Copy]
    outputs: List[Any]
    told: List[Tuple[int, Tensor]]


class Slot:
    """Runs feeds one after the other; ``calls`` is its context (``tensors.NamedCalls`` or ``BindingCalls``)."""

    def __init__(self, made: Made, calls: Any) -> None:
        self.made = made
        self.calls = calls
        self.inputs = [tensor for tensor in made.tensors if tensor.is_input]
        self.returned = [tensor for tensor in made.tensors if not tensor.is_input]
        self.stream = made.cuda.stream()
        self.begun, self.ended = made.cuda.event(), made.cuda.event()
        self.device = Grown(made.cuda.alloc)
        self.host = Grown(made.cuda.pin)
        self.told = Told(self.device)
        self.layout: Optional[Layout] = None
        self.key: Optional[Key] = None
        self._shapes: Dict[str, Shape] = {}
        self._allocator: Any = None
        self._asking: Dict[str, bool] = {}
        self._graph: Any = None

    def bind(self, feed: Feed) -> Bound:
        """``feed`` copied to page-locked memory; all else happens when it first runs."""
        ready = Ready(self, feed)
        return Bound(ready.run, ready.start, ready.finish, self.device_seconds, ready.close)

    def device_seconds(self) -> float:
        """The last finished run between the events around its enqueue."""
        return float(self.ended.seconds_since(self.begun))

    def enter(self, ready: "Ready") -> None:
        """Sets the context up for a feed: shapes where they differ, addresses, memory, and the graph anew."""
        self.layout, self.key = None, None
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self._set_inputs(ready)
        results, outputs, told = self._set_outputs()
        enqueue = self.calls.enqueue(self.stream.handle)
        layout = Layout(enqueue, results, outputs, told)
        if self.made.graph:
            layout = layout._replace(enqueue=self._captured(ready, enqueue, told))
        self.layout, self.key = layout, ready.key

    def _set_inputs(self, ready: "Ready") -> None:
        for tensor, array in zip(self.inputs, ready.arrays):
            shape = tuple(array.shape)
            if tensor.dynamic and self._shapes.get(tensor.name) != shape:
                self._shapes.pop(tensor.name, None)
                if not self.calls.set_shape(tensor, shape):
                    what = "TensorRT refused shape %s for input %r" % (list(shape), tensor.name)
                    raise self.made.refusal(what, "give it a shape within the engine's profile")
                self._shapes[tensor.name] = shape
            memory = self.host if tensor.on_host else self.device
            block = memory.need(tensor.name, int(array.nbytes))
            if tensor.on_host:
                view(block, 0, shape, tensor.dtype)[...] = array
            self._place(tensor, block.address)
        missing = self.calls.settle()
        if missing:
            what = "the engine still waits for %s" % ", ".join(missing)
            raise self.made.refusal(what, "give all inputs shapes that fit each other")

    def _set_outputs(self) -> Tuple[List[Copy], List[Any], List[Tuple[int, Tensor]]]:
        results, outputs, told = [], [], []
        for at, tensor in enumerate(self.returned):
            shape = self.calls.shape_of(tensor)
            if any(dim < 0 for dim in shape):
                self._ask(tensor)
                told.append((at, tensor))
                outputs.append(None)
                continue
            if self._asking.pop(tensor.name, False):
                self.calls.allocate(tensor, None)
            nbytes = volume(shape, tensor.dtype)
            host = self.host.need(tensor.name, nbytes)
            address = host.address
            if not tensor.on_host:
                address = self.device.need(tensor.name, nbytes).address
                if nbytes:
                    results.append((host.address, address, nbytes))
            self._place(tensor, address)
            outputs.append(view(host, 0, shape, tensor.dtype))
        return results, outputs, told

    def _ask(self, tensor: Tensor) -> None:
        """An output whose shape depends on the data."""
        if self.made.graph:
            what = "the shape of output %r depends on the data, so no CUDA graph can hold the run" % tensor.name
            raise Failure(UNSUPPORTED, what, "set cuda_graph = false for this model")
        if tensor.on_host:
            what = "output %r lies in host memory and its shape depends on the data" % tensor.name
            raise Failure(UNSUPPORTED, what, "leave it out of the model's outputs")
        if self._allocator is None and hasattr(self.made.trt, "IOutputAllocator"):
            self._allocator = allocator(self.made.trt, self.told)
        # Where there is no such class there are only bindings, which refuse by themselves.
        if not self.calls.allocate(tensor, self._allocator or self.told):
            raise self.made.refusal("TensorRT takes no allocator for output %r" % tensor.name, "run in fp32 to compare")
        self._asking[tensor.name] = True

    def _place(self, tensor: Tensor, address: int) -> None:
        if not self.calls.place(tensor, address):
            raise self.made.refusal("TensorRT refused the memory for %r" % tensor.name, "report this with the log")

    def _captured(self, ready: "Ready", enqueue: Callable[[], Any], told: Sequence[Any]) -> Callable[[], Any]:
        """The enqueue as a graph; TensorRT wants one plain run before, for what a change of shapes left to do."""
        assert not told  # noqa: S101 - refused before
        ready.copy()
        if enqueue() is False:
            raise self.refused()
        self.stream.synchronize()
        try:
            self._graph = self.made.cuda.capture(self.stream, partial(self._hand_over, enqueue))
        except Failure as problem:
            if getattr(problem, "sticky", False):
                raise
            what = "the engine cannot be captured as a CUDA graph: %s" % problem.message
            raise self.made.refusal(what, "set cuda_graph = false for this model") from None
        return partial(self._graph.launch, self.stream)

    def _hand_over(self, enqueue: Callable[[], Any]) -> None:
        if enqueue() is False:  # while a stream is captured nothing may be waited for, so the cause stays TensorRT's
            raise self.made.refusal("TensorRT refused to enqueue it", "set cuda_graph = false for this model")

    def refused(self) -> Failure:
        """Why an enqueue was refused; a broken CUDA context shows when it is waited for, and is raised at once."""
        if self.told.problem is not None:
            return self.told.problem
        self.made.cuda.synchronize()
        return self.made.refusal("TensorRT refused to run the engine", "check shapes and values of the inputs")

    def fetch(self, layout: Layout) -> None:
        """Brings the outputs whose shapes are known by now; the run itself has ended."""
        if self.told.problem is not None:
            raise self.told.problem
        for at, tensor in layout.told:
            if tensor.name not in self.told.shapes:
                raise self.made.refusal("TensorRT told no shape for output %r" % tensor.name, "run it again")
            shape = self.told.shapes[tensor.name]
            nbytes = volume(shape, tensor.dtype)
            host = self.host.need(tensor.name, nbytes)
            if nbytes:
                source = self.device.held[tensor.name].address
                self.made.cuda.copy_out(host.address, source, nbytes, self.stream)
            layout.outputs[at] = view(host, 0, shape, tensor.dtype)
        self.stream.synchronize()

    def close(self) -> None:
        """Frees all of it; the context goes first, since it knows the addresses."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self.layout = self.key = self.calls = self._allocator = None
        for held in (self.device, self.host, self.begun, self.ended, self.stream):
            held.close()


class Ready:
    """A feed in page-locked memory, bound to a slot: ``Bound``'s functions.

    ``start`` is the hot path: no look-ups beyond attributes, no allocation, no Python beside the driver's calls.
    """

    def __init__(self, slot: Slot, feed: Feed) -> None:
        self.slot = slot
        sizes = [int(feed[tensor.name].nbytes) for tensor in slot.inputs]
        placed, total = offsets(sizes)
        self.block: Any = slot.made.pool.take(total)
        self.arrays = [
            view(self.block, at, tuple(feed[tensor.name].shape), tensor.dtype)
            for at, tensor in zip(placed, slot.inputs)
        ]
        for array, tensor in zip(self.arrays, slot.inputs):
            np.copyto(array, feed[tensor.name], casting="equiv")
        self._sources = [
            (tensor.name, self.block.address + at, size)
            for at, size, tensor in zip(placed, sizes, slot.inputs)
            if size and not tensor.on_host
        ]
        self.key: Key = tuple(
            (tuple(array.shape), array.tobytes() if tensor.on_host else b"")
            for array, tensor in zip(self.arrays, slot.inputs)
        )
        self._layout: Optional[Layout] = None
        self._copies: List[Copy] = []

    def _enter(self) -> None:
        slot = self.slot
        if self.block is None or slot.calls is None:
            raise Failure(ENGINE, "the inputs of this run were given back already", "bind them again")
        if slot.layout is None or slot.key != self.key:
            slot.enter(self)
        self._copies = self._placed()
        self._layout = slot.layout

    def _placed(self) -> List[Copy]:
        held = self.slot.device.held
        return [(held[name].address, source, size) for name, source, size in self._sources]

    def copy(self) -> None:
        """Inputs to the device, outside of any timed run."""
        for to, source, size in self._placed():
            self.slot.made.cuda.copy_in(to, source, size, self.slot.stream)

    def start(self) -> None:
        """Hands copies and work to the stream."""
        slot = self.slot
        layout = self._layout
        if layout is None or layout is not slot.layout:
            self._enter()
            layout = slot.layout
        if layout.told:
            slot.told.clear()
        stream, cuda = slot.stream, slot.made.cuda
        for to, source, size in self._copies:
            cuda.copy_in(to, source, size, stream)
        slot.begun.record(stream)
        if layout.enqueue() is False:
            raise slot.refused()
        slot.ended.record(stream)
        for to, source, size in layout.results:
            cuda.copy_out(to, source, size, stream)

    def finish(self) -> List[Any]:
        """Waits; the outputs in the engine's order."""
        slot = self.slot
        slot.stream.synchronize()
        layout = slot.layout
        if layout.told:
            slot.fetch(layout)
        return layout.outputs

    def run(self) -> List[Any]:
        """Both halves."""
        self.start()
        return self.finish()

    def close(self) -> None:
        """Gives the page-locked memory back, once nothing can be copying from it; a broken context keeps it."""
        if self.block is None:
            return
        block, self.block, self._layout, self.arrays = self.block, None, None, []
        with contextlib.suppress(Failure):
            if self.slot.calls is not None:  # a closed slot has nothing under way
                self.slot.stream.synchronize()
            self.slot.made.pool.give(block)
