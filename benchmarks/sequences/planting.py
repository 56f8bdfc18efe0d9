"""40 faults and 200 sound variants, drawn by a seed: the kinds take turns, everything else is random.

By a rule fixed in advance, a fault is drawn again if the model has nothing of its kind, or if it has no effect: an
engine with it changes no output of two sequences, one after the other and both together, by ``EFFECT`` of the output's
standard deviation. States that sequences share need no such test: their effect shows only where sequences alternate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.sequences.behaviours import Shared
from benchmarks.sequences.faults import FAULTS, INT8
from benchmarks.sequences.models import MAKERS, Recurrent, sequences
from benchmarks.sequences.runner import Behaviour, free_running, largest
from benchmarks.sequences.sound import SOUND

if TYPE_CHECKING:
    import onnx

    from benchmarks.sequences.planted import Planted
    from benchmarks.sequences.runner import Array

EFFECT = {"fp32": 0.25, "int8": 1.0}
"""The smallest error that counts as an effect of a fault, in standard deviations of an output, by judged precision."""

SEQUENCES = 6
TRIES = 100


@dataclass(frozen=True)
class Drawn:
    """A model with its inputs (sequences, steps, width), and the engine: a graph, and a runner that may be faulty."""

    model: Recurrent
    x: Array
    kind: str
    precision: str
    graph: onnx.ModelProto
    behaviour: Behaviour
    planted: Planted | None = None


def draw_fault(seed: int, number: int) -> Drawn:
    """Return the fault number ``number``. Raise ``SystemExit`` if none of its kind has an effect in ``TRIES`` tries."""
    rng = np.random.default_rng([seed, number])
    kind = list(FAULTS)[number % len(FAULTS)]
    precision = "int8" if kind in INT8 else "fp32"
    for _ in range(TRIES):
        model = MAKERS[str(rng.choice(list(MAKERS)))](int(rng.integers(1 << 16)))
        planted = FAULTS[kind](model, rng)
        if planted is None:
            continue
        x = sequences(SEQUENCES, int(rng.integers(1 << 16)))
        if planted.behaviour is Shared or _effect(model, planted, x) >= EFFECT[precision]:
            graph = model.model if planted.graph is None else planted.graph
            return Drawn(model, x, kind, precision, graph, planted.behaviour(), planted)
    raise SystemExit(f"no {kind} fault with an effect was drawn in {TRIES} tries: seed {seed}, number {number}")


def _effect(model: Recurrent, planted: Planted, x: Array) -> float:
    batches = [x[:1], x[1:2], x[:2]]
    sound = free_running(model, batches)
    faulty = free_running(model, batches, planted.behaviour(), planted.graph)
    return max(largest(one, other) for one, other in zip(sound, faulty, strict=True))


def draw_sound(seed: int, number: int) -> Drawn:
    """Return the sound variant number ``number``: kinds take turns, and models too where the kind applies."""
    rng = np.random.default_rng([seed, 1000 + number])
    kind = list(SOUND)[number % len(SOUND)]
    precision, change = SOUND[kind]
    names = list(MAKERS)
    for place in range(len(names)):
        model = MAKERS[names[(number // len(SOUND) + place) % len(names)]](int(rng.integers(1 << 16)))
        graph = change(model, rng)
        if graph is not None:
            x = sequences(SEQUENCES, int(rng.integers(1 << 16)))
            return Drawn(model, x, kind, precision, graph, Behaviour())
    raise SystemExit(f"no model has anything to change by {kind!r}")
