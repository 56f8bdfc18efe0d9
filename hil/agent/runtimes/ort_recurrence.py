"""Runs an ONNX Runtime session step by step; its I/O binding writes each state where the next step reads it."""

from functools import partial
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from .bound import Feed
from .recurrence import Recurrence

CPU = "cpu"


class BoundRecurrence(Recurrence):
    """A sequence in two I/O bindings with fixed addresses, which run in turn: one writes the states for the other.

    The first step runs without a binding and shows the shapes of the outputs.
    """

    def __init__(
        self, engine: Any, session: Any, refused: Callable[[Callable[[], Any]], Any], carry: Any, begin: Feed
    ) -> None:
        """Start a sequence. ``refused(run)`` calls ``run`` and raises ONNX Runtime's errors as ``Failure``."""
        super().__init__(engine, carry, begin)
        self._session, self._refused = session, refused
        self._inputs: Dict[str, Any] = {}
        self._turns: List[Any] = []
        self._free: Dict[int, str] = {}
        self._turn = 0

    def step(self, feed: Feed) -> List[Any]:
        """Run one step, as the base class does."""
        if not self._turns:
            outputs = super().step(feed)
            self._set_up(feed, outputs)
            return outputs
        for name, buffer in self._inputs.items():
            np.copyto(buffer, feed[name], "equiv")
        run, binding, outputs = self._turns[self._turn]
        self._turn = 1 - self._turn
        for name in self._free.values():
            binding.bind_output(name, CPU)  # otherwise the shape of the run before would be required
        self._refused(run)
        if not self._free:
            return outputs  # type: ignore[no-any-return]  # the buffers of this turn
        made = binding.get_outputs()
        return [made[at].numpy() if at in self._free else buffer for at, buffer in enumerate(outputs)]

    def _set_up(self, feed: Feed, first: List[Any]) -> None:
        """Create the two bindings, after the first step with the inputs ``feed`` and the outputs ``first``.

        They continue with the states that this step left.
        """
        self._inputs = {name: np.empty(array.shape, array.dtype, order="C") for name, array in feed.items()}
        named = {size for port in self.engine.inputs for size in port.shape if isinstance(size, str)}
        fed_by = {place: name for name, place in self._places.items()}
        pairs = {name: (np.array(state, order="C"), np.empty_like(state)) for name, state in self._states.items()}
        self._free = {
            at: port.name
            for at, port in enumerate(self.engine.outputs)
            if at not in fed_by
            and (not first[at].size or not all(isinstance(size, int) or size in named for size in port.shape))
        }
        buffers = [None if at in self._free else np.empty_like(array, order="C") for at, array in enumerate(first)]
        for turn in (0, 1):
            binding = self._session.io_binding()
            for name, buffer in self._inputs.items():
                _bind(binding.bind_input, name, buffer)
            for name, pair in pairs.items():
                _bind(binding.bind_input, name, pair[turn])
            outputs: List[Optional[Any]] = [
                pairs[fed_by[at]][1 - turn] if at in fed_by else buffer for at, buffer in enumerate(buffers)
            ]
            for port, buffer in zip(self.engine.outputs, outputs):
                if buffer is None:
                    binding.bind_output(port.name, CPU)
                else:
                    _bind(binding.bind_output, port.name, buffer)
            self._turns.append((partial(self._session.run_with_iobinding, binding), binding, outputs))

    def close(self) -> None:
        """Free the states."""
        self._turns, self._inputs, self._states = [], {}, {}


def _bind(bind: Callable[..., None], name: str, buffer: Any) -> None:
    bind(name, CPU, 0, buffer.dtype, list(buffer.shape), buffer.ctypes.data)
