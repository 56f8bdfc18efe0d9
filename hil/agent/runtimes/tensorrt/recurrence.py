"""Runs a plan step by step; the states stay on the GPU, at addresses that do not change."""

from typing import Any, List, Mapping, NamedTuple

from ..bound import Bound, Feed
from ..recurrence import Recurrence, places
from .buffers import view, volume
from .timed_feed import TimedFeed


class State(NamedTuple):
    """A state in device memory of its own: the ``input`` that it is copied to and the ``output`` that it comes from."""

    input: str
    output: str
    block: Any
    nbytes: int


class DeviceRecurrence(Recurrence):
    """A step copies each state from its own memory to the input before the work, and from the output after it.

    Other sequences, and inferences without a state, may use the slot in between.
    """

    def __init__(self, engine: Any, slot: Any, carry: Mapping[str, str], begin: Feed) -> None:
        """Start a sequence, as the base class does, and copy the states ``begin`` to the GPU."""
        self.engine, self.carry, self._slot = engine, dict(carry), slot
        self.shapes = {name: tuple(begin[name].shape) for name in carry}
        self._places = places(engine, carry)
        self._begin = {name: begin[name].copy() for name in carry}
        cuda = slot.resources.cuda
        self._states: List[State] = []
        types = {tensor.name: tensor.dtype for tensor in slot.inputs}
        for name, source in carry.items():
            nbytes = volume(self.shapes[name], types[name])
            self._states.append(State(name, source, cuda.alloc(max(1, nbytes)), nbytes))
            if nbytes:
                block = slot.resources.pool.acquire(nbytes)
                view(block, 0, self.shapes[name], types[name])[...] = self._begin[name]
                cuda.copy_in(self._states[-1].block.address, block.address, nbytes, slot.stream)
                slot.stream.synchronize()
                slot.resources.pool.release(block)

    def bind(self, feed: Feed) -> Bound:
        """Return a ``Bound``; each of its runs is one more step, as in the base class."""
        slot = self._slot
        timed = TimedFeed(slot, dict(feed, **self._begin), self._states)

        def run() -> List[Any]:
            outputs = timed.run()
            for name, place in self._places.items():
                self.check(name, tuple(outputs[place].shape))
            return outputs

        return Bound(run, None, None, slot.device_seconds, timed.close)

    def step(self, feed: Feed) -> List[Any]:
        """Run one step, as the base class does."""
        bound = self.bind(feed)
        try:
            return list(bound.run())  # in the slot's memory, not the feed's
        finally:
            bound.close()

    def close(self) -> None:
        """Free the states."""
        while self._states:
            self._states.pop().block.free()


def on_device(tensors: Any, carry: Mapping[str, str]) -> bool:
    """Return whether all inputs and outputs of ``carry`` are in device memory, none of them a shape tensor."""
    names = {*carry, *carry.values()}
    return not any(tensor.on_host for tensor in tensors if tensor.name in names)
