"""A planted fault, and the facts about a model that planting needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.sequences.models import sequences
from benchmarks.sequences.runner import Behaviour, free_running

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from benchmarks.sequences.models import Recurrent

    Rng = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """A planted fault, in how a runner carries states (``behaviour``) or in the ``graph`` of a step.

    Attributes:
        cause: a regular expression that the named cause must match.
        node: for a fault within a step, the tensor whose node must be named instead.
    """

    what: str
    behaviour: Callable[[], Behaviour] = Behaviour
    graph: onnx.ModelProto | None = None
    cause: str = ""
    node: str = ""


def state_of(model: Recurrent, rng: Rng) -> str:
    """Return one of the states."""
    return str(rng.choice(sorted(model.states)))


def range_of(model: Recurrent, state: str, rng: Rng, steps: int | None = None) -> float:
    """Return the largest magnitude of a state over the first ``steps`` of some sequences."""
    answers = free_running(model, [sequences(2, int(rng.integers(1 << 16)))[:, :steps]])[0]
    return float(np.abs(answers[model.states[state]]).max())
