"""Runs the steps of sequences in a worker and returns the outputs of each step, stacked."""

import time
from typing import Any, Dict, List, Tuple

from .. import failure
from ..failure import Failure

LARGEST = 256 << 20
"""Bytes of outputs after which an answer ends; the host asks for the remaining steps, and the state is kept."""

LONGEST = 10.0
"""Seconds after which an answer ends, so that a long sequence does not exceed the deadline of a request."""

MOST_OPEN = 64
"""Sequences whose states are kept at once."""


class Sequences:
    """The sequences of one engine by key, each with its own state, which is kept between requests."""

    def __init__(self) -> None:
        self._open: Dict[str, Any] = {}

    def run(self, engine: Any, request: Dict[str, Any], arrays: Dict[str, Any]) -> Tuple[Dict[str, Any], List[Any]]:
        """Run the steps in ``arrays`` and return the outputs of those that were run, each stacked: ``[steps, *shape]``.

        Fewer steps than given may be run (``LARGEST``, ``LONGEST``). ``request["carry"]`` maps each carried input to
        the output that feeds it. The sequence ``request["key"]`` begins if ``arrays`` has the carried inputs, otherwise
        it continues. The other inputs are ``[steps, *shape]``. Raise ``Failure`` if the request or its arrays are
        invalid, if ``MOST_OPEN`` sequences are open already, or if an output changes its shape.
        """
        carry, key = request["carry"], request["key"]
        if not isinstance(carry, dict) or not isinstance(key, str):
            raise Failure(failure.PROTOCOL, "a sequence needs a key and the outputs that feed its inputs")
        begin = {name: arrays[name] for name in carry if name in arrays}
        steps = {name: array for name, array in arrays.items() if name not in carry}
        counts = {len(array) if array.ndim else 0 for array in steps.values()}
        if len(counts) != 1 or counts == {0} or len(begin) not in (0, len(carry)):
            raise Failure(
                failure.PROTOCOL,
                "the inputs of a sequence need equal numbers of steps, and a request needs all of its states or none",
            )
        if begin or not carry:
            first = {name: array[0, ...] for name, array in steps.items()}
            engine.check(dict(first, **begin))
            self._begin(key, engine, carry, begin)
        if key not in self._open:
            raise Failure(failure.PROTOCOL, "no sequence %r has begun" % key)
        return {}, _stacked(engine, self._open[key], steps, counts.pop())

    def _begin(self, key: str, engine: Any, carry: Dict[str, str], begin: Dict[str, Any]) -> None:
        if key in self._open:
            self._open.pop(key).close()
        if len(self._open) >= MOST_OPEN:
            raise Failure(failure.PROTOCOL, "%d sequences are open already" % MOST_OPEN)
        self._open[key] = engine.recurrence(carry, begin)

    def close(self) -> None:
        """Free all states; call it before the engine is unloaded."""
        while self._open:
            self._open.popitem()[1].close()


def _stacked(engine: Any, recurrence: Any, steps: Dict[str, Any], count: int) -> List[Any]:
    import numpy as np

    ends = time.perf_counter() + LONGEST
    rows: List[Any] = []
    done = 0
    while done < count:
        outputs = recurrence.step({name: array[done, ...] for name, array in steps.items()})
        if not done:
            count = min(count, 1 + LARGEST // max(1, sum(value.nbytes for value in outputs)))
            rows = [np.empty((count, *value.shape), value.dtype) for value in outputs]
        for row, value in zip(rows, outputs):
            if value.shape != row.shape[1:]:
                what = "an output changes its shape from step to step, so the steps cannot be compared as one sequence"
                raise Failure(failure.UNSUPPORTED, what, "export the model with outputs of a fixed shape")
            row[done] = value  # a copy: the runtime may reuse its memory
        done += 1
        if time.perf_counter() >= ends:
            break
    names = [port.name for port in engine.outputs]
    return [(name, row[:done]) for name, row in zip(names, rows)]
