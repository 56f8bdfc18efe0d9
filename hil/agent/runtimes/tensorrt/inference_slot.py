"""One inference in flight: an execution context, a stream, and the memory that both work on."""

from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...failure import UNSUPPORTED, Failure
from ..interface import Bound, Feed
from .buffers import Grown, Pool, view, volume
from .outputs import Told, allocator
from .tensors import Shape, Tensor
from .timed_feed import Copy, Key, Layout, Ready


class Made(NamedTuple):
    """What a slot works with. ``refusal(what, advice)`` makes the ``Failure`` with TensorRT's own words."""

    trt: Any
    cuda: Any
    tensors: Sequence[Tensor]
    pool: Pool
    graph: bool
    refusal: Callable[[str, str], Failure]


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

    def enter(self, ready: Ready) -> None:
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

    def _set_inputs(self, ready: Ready) -> None:
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

    def _captured(self, ready: Ready, enqueue: Callable[[], Any], told: Sequence[Any]) -> Callable[[], Any]:
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
