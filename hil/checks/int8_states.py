"""INT8: does a state that goes from step to step stay within its range, also late in a sequence?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.checks.numbers import Array

LEVELS = 127
BEYOND = 0.1
"""How far a state may lie outside its range, as a share of the range, on average over a part of a sequence.

A tenth of the range is 13 steps of INT8: an error that no rounding explains, and that is carried on from step to step.
"""

PART, FEWEST = 0.1, 10
"""The steps over which an excess is averaged: a tenth of the sequence, but at least 10 steps."""


@dataclass(frozen=True)
class StateUse:
    """How a state of the reference exceeds its INT8 range in one sequence.

    Attributes:
        name: the tensor that has the range.
        top: the largest magnitude that the range holds.
        peak: the largest magnitude in the sequence.
        sequence: the number of the sequence.
        step: the first step in which the state's worst element is clipped.
        steps: the number of steps in which that element is clipped.
        beyond: the mean excess of that element over ``top`` in the worst part of the sequence, as a share of ``top``.
        whole: the state, if the tensor is another one that holds some of its elements; else empty.
    """

    name: str
    top: float
    peak: float
    sequence: int
    step: int
    steps: int
    beyond: float
    whole: str = ""


def state_use(name: str, top: float, sequence: int, values: Array) -> StateUse | None:
    """Return how the state ``name`` exceeds its range in one sequence; ``None`` if nothing is clipped.

    ``top`` is the largest magnitude that the range holds, ``sequence`` the number of the sequence, and ``values``
    [steps, …] are those of the state in the reference. Values that are not finite do not count.
    """
    magnitudes = np.abs(np.asarray(values, np.float64).reshape(len(values), -1))
    magnitudes = np.where(np.isfinite(magnitudes), magnitudes, 0.0)
    clipped = magnitudes > top * (1 + 1 / (2 * LEVELS))
    if not clipped.any():
        return None
    excess = np.maximum(magnitudes - top, 0.0)
    size = min(len(excess), max(FEWEST, math.ceil(PART * len(excess))))
    sums = np.cumsum(np.concatenate([np.zeros((1, excess.shape[1])), excess]), axis=0)
    worst = (sums[size:] - sums[:-size]).max(axis=0) / size
    element = int(worst.argmax())
    beyond = float(worst[element]) / max(top, 1e-12)
    steps = np.flatnonzero(clipped[:, element])
    first = int(steps[0]) if len(steps) else int(clipped.any(axis=1).argmax())
    return StateUse(name, top, float(magnitudes.max()), sequence, first, len(steps), beyond)


def worst_states(uses: Sequence[StateUse]) -> list[StateUse]:
    """Return, for each clipped state, its use in its worst sequence; the worst state is first."""
    worst: dict[str, StateUse] = {}
    for use in sorted(uses, key=lambda one: -one.beyond):
        worst.setdefault(use.name, use)
    return list(worst.values())


def clipping(uses: Sequence[StateUse]) -> str:
    """Return an error message for the state with the largest ``beyond``; empty if none is over ``BEYOND``."""
    worst = worst_states(uses)
    if not worst or worst[0].beyond <= BEYOND:
        return ""
    use = worst[0]
    part = f"{use.whole!r} in {use.name!r}" if use.whole else repr(use.name)
    return (
        f"the state {part} clips from step {use.step} of sequence {use.sequence} on: its range ends at "
        f"{use.top:.4g}, validation reaches {use.peak:.4g}: calibrate on sequences as long as those of the robot"
    )
