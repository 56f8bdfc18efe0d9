"""Finds a carried state that an engine clips: the state stops at one value that the reference exceeds."""

from __future__ import annotations

from typing import Any

import numpy as np

PLATEAU = 8
"""How often the engine must return its extreme value exactly; unclipped values in floating point differ."""

EXCESS = 0.1
"""The share by which the reference must exceed the engine's extreme value: the default ``slice_error`` of INT8.

It is a share of the reference's span or of its largest magnitude, whichever is less.
"""


class StateRange:
    """The ranges of one state in reference and engine, over all sequences."""

    def __init__(self) -> None:
        self._ours = np.array([np.inf, -np.inf])
        self._ends = np.array([np.inf, -np.inf])
        self._times = np.zeros(2, np.int64)

    def add(self, reference: np.ndarray[Any, Any], engine: np.ndarray[Any, Any]) -> None:
        """Add one sequence of both sides: finite values of any shape. Ignore values that are not in floating point."""
        if not engine.size or not np.issubdtype(engine.dtype, np.floating):
            return
        self._ours = _wider(self._ours, reference)
        ends = _wider(self._ends, engine)
        self._times[ends != self._ends] = 0
        self._ends = ends
        self._times += [int((engine == end).sum()) for end in ends]

    def clips_at(self) -> tuple[float, float, int] | None:
        """Return the value at which the engine clips, the reference's extreme, and how often the value was returned.

        Return ``None`` if the engine does not clip the state, or if the state does not change in the engine.
        """
        if not np.isfinite(self._ends).all():
            return None
        beyond = (self._ours - self._ends) * [-1, 1]
        unit = min(float(np.ptp(self._ours)), float(np.abs(self._ours).max()))
        clipped = (self._times >= PLATEAU) & (beyond > EXCESS * unit) & (np.ptp(self._ends) > 0)
        at = int(np.argmax(np.where(clipped, beyond, -np.inf)))
        return (float(self._ends[at]), float(self._ours[at]), int(self._times[at])) if clipped[at] else None


def _wider(ends: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([min(ends[0], float(values.min())), max(ends[1], float(values.max()))])
