"""One inference in flight: an execution context, a stream and their memory."""

from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...failure import UNSUPPORTED, Failure
from ..interface import Bound, Feed
from .buffers import GrowingBuffers, Pool, view, volume
from .outputs import DynamicOutputs, allocator
from .tensors import Shape, Tensor
from .timed_feed import Copy, Key, Layout, TimedFeed


class Resources(NamedTuple):
    """The objects that a slot uses. ``graph`` is whether runs are captured as CUDA graphs.

    ``refusal(what, advice)`` returns a ``Failure`` with TensorRT's own message.
    """

    trt: Any
    cuda: Any
    tensors: Sequence[Tensor]
    pool: Pool
    graph: bool
    refusal: Callable[[str, str], Failure]


class Slot:
    """Runs feeds one after another in the context ``calls`` (``tensors.NamedCalls`` or ``BindingCalls``)."""

    def __init__(self, resources: Resources, calls: Any) -> None:
        self.resources = resources
        self.calls = calls
        self.inputs = [tensor for tensor in resources.tensors if tensor.is_input]
        self.outputs = [tensor for tensor in resources.tensors if not tensor.is_input]
        self.stream = resources.cuda.stream()
        self.begun, self.ended = resources.cuda.event(), resources.cuda.event()
        self.device = GrowingBuffers(resources.cuda.alloc)
        self.host = GrowingBuffers(resources.cuda.pin)
        self.dynamic_outputs = DynamicOutputs(self.device)
        self.layout: Optional[Layout] = None
        self.key: Optional[Key] = None
        self._shapes: Dict[str, Shape] = {}
        self._allocator: Any = None
        self._allocating: Dict[str, bool] = {}
        self._graph: Any = None

    def bind(self, feed: Feed) -> Bound:
        """Copy ``feed`` to page-locked memory and return it as ``Bound``; its first run does the rest of the set-up."""
        timed_feed = TimedFeed(self, feed)
        return Bound(timed_feed.run, timed_feed.start, timed_feed.finish, self.device_seconds, timed_feed.close)

    def device_seconds(self) -> float:
        """Return the seconds on the device between the two events around the work of the last timed run."""
        return float(self.ended.seconds_since(self.begun))

    def set_up(self, timed_feed: TimedFeed) -> None:
        """Prepare the context for a feed: set changed shapes, memory and addresses.

        If the engine uses CUDA graphs, also capture a new graph.
        """
        self.layout, self.key = None, None
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self._set_inputs(timed_feed)
        results, outputs, unsized = self._set_outputs()
        enqueue = self.calls.enqueue(self.stream.handle)
        layout = Layout(enqueue, results, outputs, unsized)
        if self.resources.graph:
            layout = layout._replace(enqueue=self._captured(timed_feed, enqueue, unsized))
        self.layout, self.key = layout, timed_feed.key

    def _set_inputs(self, timed_feed: TimedFeed) -> None:
        for tensor, array in zip(self.inputs, timed_feed.arrays):
            shape = tuple(array.shape)
            if tensor.dynamic and self._shapes.get(tensor.name) != shape:
                self._shapes.pop(tensor.name, None)
                if not self.calls.set_shape(tensor, shape):
                    what = "TensorRT refused shape %s for input %r" % (list(shape), tensor.name)
                    raise self.resources.refusal(what, "pass a shape within the engine's profile")
                self._shapes[tensor.name] = shape
            memory = self.host if tensor.on_host else self.device
            block = memory.need(tensor.name, int(array.nbytes))
            if tensor.on_host:
                view(block, 0, shape, tensor.dtype)[...] = array
            self._place(tensor, block.address)
        missing = self.calls.settle()
        if missing:
            what = "the engine has no value for %s" % ", ".join(missing)
            raise self.resources.refusal(what, "pass inputs whose shapes fit each other")

    def _set_outputs(self) -> Tuple[List[Copy], List[Any], List[Tuple[int, Tensor]]]:
        results, outputs, unsized = [], [], []
        for at, tensor in enumerate(self.outputs):
            shape = self.calls.shape_of(tensor)
            if any(dim < 0 for dim in shape):
                self._allocate_dynamically(tensor)
                unsized.append((at, tensor))
                outputs.append(None)
                continue
            if self._allocating.pop(tensor.name, False):
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
        return results, outputs, unsized

    def _allocate_dynamically(self, tensor: Tensor) -> None:
        """Make TensorRT request memory for an output whose shape depends on the data."""
        if self.resources.graph:
            what = "the shape of output %r depends on the data, which a CUDA graph cannot capture" % tensor.name
            raise Failure(UNSUPPORTED, what, "set cuda_graph = false for this model")
        if tensor.on_host:
            what = "output %r is in host memory and its shape depends on the data" % tensor.name
            raise Failure(UNSUPPORTED, what, "remove it from the model's outputs")
        if self._allocator is None and hasattr(self.resources.trt, "IOutputAllocator"):
            self._allocator = allocator(self.resources.trt, self.dynamic_outputs)
        # Versions without this class have only bindings, which raise the failure themselves.
        if not self.calls.allocate(tensor, self._allocator or self.dynamic_outputs):
            what = "TensorRT refused an allocator for output %r" % tensor.name
            raise self.resources.refusal(what, "run in fp32 to compare")
        self._allocating[tensor.name] = True

    def _place(self, tensor: Tensor, address: int) -> None:
        if not self.calls.place(tensor, address):
            what = "TensorRT refused the memory for %r" % tensor.name
            raise self.resources.refusal(what, "report this as a bug, with the report's log")

    def _captured(self, timed_feed: TimedFeed, enqueue: Callable[[], Any], unsized: Sequence[Any]) -> Callable[[], Any]:
        """Return a function that launches ``enqueue``, captured as a CUDA graph."""
        assert not unsized  # noqa: S101 - refused before
        timed_feed.copy()
        if enqueue() is False:
            raise self.refused()
        self.stream.synchronize()
        try:
            self._graph = self.resources.cuda.capture(self.stream, partial(self._enqueue_or_raise, enqueue))
        except Failure as problem:
            if getattr(problem, "sticky", False):
                raise
            what = "the engine cannot be captured as a CUDA graph: %s" % problem.message
            raise self.resources.refusal(what, "set cuda_graph = false for this model") from None
        return partial(self._graph.launch, self.stream)

    def _enqueue_or_raise(self, enqueue: Callable[[], Any]) -> None:
        if enqueue() is False:  # waiting is not allowed during a capture, so the CUDA context cannot be checked here
            what = "TensorRT refused to enqueue the inference"
            raise self.resources.refusal(what, "set cuda_graph = false for this model")

    def refused(self) -> Failure:
        """Return the failure for a run that TensorRT refused; raise ``CudaError`` if the CUDA context is broken."""
        if self.dynamic_outputs.problem is not None:
            return self.dynamic_outputs.problem
        self.resources.cuda.synchronize()
        return self.resources.refusal("TensorRT refused to run the engine", "check shapes and values of the inputs")

    def fetch(self, layout: Layout) -> None:
        """Copy the outputs whose shapes depend on the data from the device to ``layout``; the run must have ended."""
        if self.dynamic_outputs.problem is not None:
            raise self.dynamic_outputs.problem
        for at, tensor in layout.unsized:
            if tensor.name not in self.dynamic_outputs.shapes:
                raise self.resources.refusal("TensorRT reported no shape for output %r" % tensor.name, "run it again")
            shape = self.dynamic_outputs.shapes[tensor.name]
            nbytes = volume(shape, tensor.dtype)
            host = self.host.need(tensor.name, nbytes)
            if nbytes:
                source = self.device.by_name[tensor.name].address
                self.resources.cuda.copy_out(host.address, source, nbytes, self.stream)
            layout.outputs[at] = view(host, 0, shape, tensor.dtype)
        self.stream.synchronize()

    def close(self) -> None:
        """Free everything: the context before the memory whose addresses it uses."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self.layout = self.key = self.calls = self._allocator = None
        for part in (self.device, self.host, self.begun, self.ended, self.stream):
            part.close()
