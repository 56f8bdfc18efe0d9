"""Runs an ONNX Runtime session step by step; its I/O binding writes each state where the next step reads it."""

from typing import Any, Callable, Dict, List, Mapping, Optional

import numpy as np

from .bound import Bound, Feed
from .recurrence import Recurrence, places

CPU = "cpu"


class BoundRecurrence(Recurrence):
    """Two bindings with fixed addresses that run in turn: the memory of a state's output is the other's input."""

    def __init__(
        self, engine: Any, session: Any, refused: Callable[[Callable[[], Any]], Any], carry: Any, begin: Feed
    ) -> None:
        """Start a sequence. ``refused(run)`` runs and translates ONNX Runtime's errors."""
        self.engine, self.carry = engine, dict(carry)
        self.shapes = {name: tuple(begin[name].shape) for name in carry}
        self._places = places(engine, carry)
        self._session, self._refused = session, refused
        self._states = {name: [np.array(begin[name], order="C"), np.empty_like(begin[name])] for name in carry}
        self._inputs: Optional[Dict[str, Any]] = None
        self._bindings: List[Any] = []
        self._turn = 0

    def bind(self, feed: Feed) -> Bound:
        """Return the step with these inputs, as the base class does."""
        return Bound(lambda: self._step(feed))

    def _step(self, feed: Feed) -> List[Any]:
        if self._inputs is None:
            self._set_up(feed)
        for name, buffer in (self._inputs or {}).items():
            np.copyto(buffer, feed[name], casting="equiv")
        binding, self._turn = self._bindings[self._turn], 1 - self._turn
        self._refused(lambda: self._session.run_with_iobinding(binding))
        outputs = [value.numpy() for value in binding.get_outputs()]
        for name, place in self._places.items():
            self.check(name, outputs[place].shape)
        return outputs

    def _set_up(self, feed: Mapping[str, Any]) -> None:
        self._inputs = {name: np.empty(array.shape, array.dtype, order="C") for name, array in feed.items()}
        fed_by = {source: name for name, source in self.carry.items()}
        for turn in (0, 1):
            binding = self._session.io_binding()
            for name, buffer in self._inputs.items():
                _bind(binding.bind_input, name, buffer)
            for name, pair in self._states.items():
                _bind(binding.bind_input, name, pair[turn])
            for port in self.engine.outputs:
                if port.name in fed_by:
                    _bind(binding.bind_output, port.name, self._states[fed_by[port.name]][1 - turn])
                else:
                    binding.bind_output(port.name, CPU)
            self._bindings.append(binding)

    def close(self) -> None:
        """Free the states."""
        self._bindings, self._inputs, self._states = [], None, {}


def _bind(bind: Callable[..., None], name: str, buffer: Any) -> None:
    bind(name, CPU, 0, buffer.dtype, list(buffer.shape), buffer.ctypes.data)
