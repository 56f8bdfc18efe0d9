"""Runs an engine step by step, with states that go from each step to the next."""

from functools import partial
from typing import Any, Dict, List, Mapping

from ..failure import ENGINE, Failure
from .bound import Bound, Feed


class Recurrence:
    """One sequence of steps, whose states are kept in the host's memory; a subclass may keep them in a device's memory.

    Several sequences may be open on one engine, each with its own states. ``shapes`` has the states' shapes by input.
    """

    def __init__(self, engine: Any, carry: Mapping[str, str], begin: Feed) -> None:
        """Start a sequence: ``carry`` maps each carried input to the output that feeds it in the next step.

        ``begin`` has the first value of each carried input. Raise ``Failure`` if the engine lacks a name of ``carry``.
        """
        self.engine = engine
        self.carry = dict(carry)
        self.shapes = {name: tuple(begin[name].shape) for name in carry}
        self._places = places(engine, carry)
        self._states: Dict[str, Any] = {name: begin[name].copy() for name in carry}

    def bind(self, feed: Feed) -> Bound:
        """Return a ``Bound``; each of its runs is one more step. ``feed`` has all inputs except the carried ones."""
        return Bound(partial(self.step, feed))

    def step(self, feed: Feed) -> List[Any]:
        """Run one step and return the engine's outputs, valid until the next step.

        ``feed`` has all inputs except the carried ones. Raise ``Failure`` if a state changes its shape.
        """
        bound = self.engine.bind(dict(feed, **self._states))
        try:
            outputs = list(bound.run())
            for name, place in self._places.items():
                self.check(name, tuple(outputs[place].shape))
                self._states[name] = outputs[place].copy()  # outputs are valid until the next run
            return outputs
        finally:
            bound.close()

    def check(self, name: str, shape: Any) -> None:
        """Raise ``Failure`` unless ``shape``, of the output that feeds input ``name``, is the state's first shape."""
        if shape != self.shapes[name]:
            what = "the shape of state %r changes from %s to %s" % (name, list(self.shapes[name]), list(shape))
            raise Failure(ENGINE, what, "export the model with a state of a fixed shape: no other is supported")

    def close(self) -> None:
        """Free the states; the engine stays loaded."""
        self._states = {}


def places(engine: Any, carry: Mapping[str, str]) -> Dict[str, int]:
    """Return, by carried input, the index of the output that feeds it. Raise ``Failure`` for an unknown name."""
    inputs = {port.name for port in engine.inputs}
    outputs = {port.name: at for at, port in enumerate(engine.outputs)}
    for name, source in carry.items():
        if name not in inputs or source not in outputs:
            what = "the engine has no %s" % ("input %r" % name if name not in inputs else "output %r" % source)
            raise Failure(ENGINE, what, "correct carry of this input, or build the engine from the same model")
    return {name: outputs[source] for name, source in carry.items()}
