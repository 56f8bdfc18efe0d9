"""A feed prepared for a slot, and its run: the only code between the host's clock and the driver."""

import contextlib
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ...failure import ENGINE, Failure
from ..interface import Feed
from .buffers import offsets, view
from .tensors import Tensor

Copy = Tuple[int, int, int]  # destination, source, bytes
Key = Tuple[Any, ...]


class Layout(NamedTuple):
    """How one set of input shapes runs; created when shapes change, and reused by every feed of these shapes.

    Attributes:
        enqueue: queues the work; returns False if TensorRT refuses it.
        results: the copies to the host after the work.
        outputs: views of page-locked memory.
        unsized: index and tensor of each output whose shape depends on the data.
    """

    enqueue: Callable[[], Any]
    results: List[Copy]
    outputs: List[Any]
    unsized: List[Tuple[int, Tensor]]


class TimedFeed:
    """A feed in page-locked memory, bound to a slot; it provides the functions of ``Bound``.

    ``start`` runs within the measured time, so it allocates nothing.
    """

    def __init__(self, slot: Any, feed: Feed, states: Sequence[Any] = ()) -> None:
        """Prepare ``feed`` for ``slot``.

        The inputs that ``states`` (``recurrence.State``) feed are copied from the states' memory on the device instead.
        """
        self.slot = slot
        self._states = states
        carried = {state.input for state in states}
        sizes = [int(feed[tensor.name].nbytes) for tensor in slot.inputs]
        placed, total = offsets(sizes)
        self.block: Any = slot.resources.pool.acquire(total)
        self.arrays = [
            view(self.block, at, tuple(feed[tensor.name].shape), tensor.dtype)
            for at, tensor in zip(placed, slot.inputs)
        ]
        for array, tensor in zip(self.arrays, slot.inputs):
            np.copyto(array, feed[tensor.name], casting="equiv")
        self._sources = [
            (tensor.name, self.block.address + at, size)
            for at, size, tensor in zip(placed, sizes, slot.inputs)
            if size and not tensor.on_host and tensor.name not in carried
        ]
        self.key: Key = tuple(
            (tuple(array.shape), array.tobytes() if tensor.on_host else b"")
            for array, tensor in zip(self.arrays, slot.inputs)
        )
        self._layout: Optional[Layout] = None
        self._copies: List[Copy] = []
        self._loads: List[Copy] = []
        self._saves: List[Copy] = []

    def _set_up(self) -> None:
        slot = self.slot
        if self.block is None or slot.calls is None:
            raise Failure(ENGINE, "the inputs of this run have been released", "bind them again")
        if slot.layout is None or slot.key != self.key:
            slot.set_up(self)
        self._copies = self._placed()
        address = {name: block.address for name, block in slot.device.by_name.items()}
        states = [state for state in self._states if state.nbytes]
        self._loads = [(address[state.input], state.block.address, state.nbytes) for state in states]
        self._saves = [(state.block.address, address[state.output], state.nbytes) for state in states]
        self._layout = slot.layout

    def _placed(self) -> List[Copy]:
        buffers = self.slot.device.by_name
        return [(buffers[name].address, source, size) for name, source, size in self._sources]

    def copy(self) -> None:
        """Copy the inputs to the device, before any timed run."""
        for to, source, size in self._placed():
            self.slot.resources.cuda.copy_in(to, source, size, self.slot.stream)

    def start(self, *, timed: bool = False) -> None:
        """Queue on the stream the copies of the inputs, the work and the copies of the outputs.

        With ``timed`` the slot's events are recorded around the work.
        """
        slot = self.slot
        layout = self._layout
        if layout is None or layout is not slot.layout:
            self._set_up()
            layout = slot.layout
        if layout.unsized:
            slot.dynamic_outputs.clear()
        stream, cuda = slot.stream, slot.resources.cuda
        for to, source, size in self._copies:
            cuda.copy_in(to, source, size, stream)
        for to, source, size in self._loads:
            cuda.copy_within(to, source, size, stream)
        if timed:
            slot.begun.record(stream)
        if layout.enqueue() is False:
            raise slot.refused()
        if timed:
            slot.ended.record(stream)
        for to, source, size in self._saves:
            cuda.copy_within(to, source, size, stream)
        for to, source, size in layout.results:
            cuda.copy_out(to, source, size, stream)

    def finish(self) -> List[Any]:
        """Wait for the run and return the outputs in the engine's order."""
        slot = self.slot
        slot.stream.synchronize()
        layout = slot.layout
        if layout.unsized:
            slot.fetch(layout)
        return layout.outputs

    def run(self) -> List[Any]:
        """Run once with the slot's events recorded, and return the outputs."""
        self.start(timed=True)
        return self.finish()

    def close(self) -> None:
        """Return the page-locked block to the pool once no copy can read it, unless CUDA's context is broken."""
        if self.block is None:
            return
        block, self.block, self._layout, self.arrays = self.block, None, None, []
        with contextlib.suppress(Failure):
            if self.slot.calls is not None:  # a closed slot has no work in flight
                self.slot.stream.synchronize()
            self.slot.resources.pool.release(block)
