"""Runs a model step by step, soundly or with a planted fault of the runner: what carries states from step to step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy import graphs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = dict[str, Array]

    from benchmarks.sequences.models import Recurrent


class Behaviour:
    """How a runner carries states; each fault overrides a part of it.

    One object belongs to one engine, and all its sequences share what it stores. ``run`` belongs to one sequence. Each
    state has the name of its input.
    """

    def begin(self, states: Arrays) -> Arrays:
        """Return the states at the start of a sequence; ``states`` are the right ones."""
        return states

    def feed(self, run: dict[str, Any], feed: Arrays) -> Arrays:  # noqa: ARG002 - faults use them
        """Return the inputs of a step, without states."""
        return feed

    def states_of(self, states: Arrays) -> Arrays:
        """Return the states that a step gets; ``states`` are those of this sequence."""
        return states

    def carried(self, run: dict[str, Any], step: int, before: Arrays, after: Arrays, outputs: Arrays) -> Arrays:  # noqa: ARG002 - faults use them
        """Return the states for the next step; the engine got ``before`` and answered ``after``."""
        return after

    def answer(self, step: int, outputs: Arrays) -> Arrays:  # noqa: ARG002 - faults use it
        """Return the outputs of ``step``."""
        return outputs

    def ended(self, answers: Arrays) -> Arrays:
        """Return the outputs [steps, …] of a whole sequence."""
        return answers


def free_running(
    model: Recurrent, batches: Sequence[Array], behaviour: Behaviour | None = None, graph: Any = None
) -> list[Arrays]:
    """Return the outputs [steps, …] for each of ``batches`` (sequences, steps, width), one after another.

    ``graph`` is executed instead of the model's own. This is the benchmark's own truth: it uses no part of ``hil``.
    """
    opened = graphs.session(graph if graph is not None else model.model)
    names = [one.name for one in opened.get_outputs()]
    behaviour, made = behaviour or Behaviour(), []
    for x in batches:
        states, run = behaviour.begin(model.empty(len(x))), dict[str, Any]()
        steps: list[Arrays] = []
        for step in range(x.shape[1]):
            states = behaviour.states_of(states)
            feed = behaviour.feed(run, {"x": np.ascontiguousarray(x[:, step])})
            outputs = dict(zip(names, opened.run(None, {**feed, **states}), strict=True))
            after = {taken: outputs[given] for taken, given in model.states.items()}
            states = behaviour.carried(run, step, states, after, outputs)
            steps.append(behaviour.answer(step, outputs))
        made.append(behaviour.ended({name: np.stack([one[name] for one in steps]) for name in names}))
    return made


def largest(reference: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """Return the largest error of an output over all steps, as a multiple of the output's standard deviation."""
    worst = 0.0
    for name, wanted in reference.items():
        made = other[name]
        if made.shape != wanted.shape or not np.isfinite(made).all():
            return float("inf")
        worst = max(worst, float(np.abs(made - wanted).max() / wanted.std()))
    return worst
