"""A feed made ready for a slot, and the loop that runs it: the only code between the host's clock and the driver."""

import contextlib
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from ...failure import ENGINE, Failure
from ..interface import Feed
from .buffers import offsets, view
from .tensors import Tensor

Copy = Tuple[int, int, int]  # to, from, bytes
Key = Tuple[Any, ...]


class Layout(NamedTuple):
    """How one set of input shapes runs: made when shapes change, then used again by every feed that has them.

    ``enqueue`` hands the work over (False where it is refused); ``results`` copies device to host; ``outputs``
    are views of page-locked memory; ``told`` are outputs whose shape is known only after the run.
    """

    enqueue: Callable[[], Any]
    results: List[Copy]
    outputs: List[Any]
    told: List[Tuple[int, Tensor]]


class Ready:
    """A feed in page-locked memory, bound to a slot: ``Bound``'s functions.

    ``start`` is the hot path: no look-ups beyond attributes, no allocation, no Python beside the driver's calls.
    """

    def __init__(self, slot: Any, feed: Feed) -> None:
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

    def start(self, *, timed: bool = False) -> None:
        """Hands copies and work to the stream; ``timed`` between the slot's events, which in flight nobody reads."""
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
        if timed:
            slot.begun.record(stream)
        if layout.enqueue() is False:
            raise slot.refused()
        if timed:
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
        """Both halves, timed on the device."""
        self.start(timed=True)
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
