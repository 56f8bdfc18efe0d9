"""Faults of a runner: how it carries the states of a recurrent model from step to step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.sequences.runner import Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.sequences.runner import Array, Arrays


class NotReset(Behaviour):
    """A sequence begins with the last states of the sequence before it."""

    def __init__(self) -> None:
        self._left: Arrays = {}

    def begin(self, states: Arrays) -> Arrays:
        """Return the states at the start of a sequence."""
        same = {name: self._left.get(name, array) for name, array in states.items()}
        return {name: array if array.shape == states[name].shape else states[name] for name, array in same.items()}

    def carried(self, run: dict[str, Any], step: int, before: Arrays, after: Arrays, outputs: Arrays) -> Arrays:  # noqa: ARG002 - as declared
        """Return the states for the next step."""
        self._left = after
        return after


class WrongBegin(Behaviour):
    """Each sequence begins with the same states, which are not zero."""

    def __init__(self, value: float) -> None:
        self._value = np.float32(value)

    def begin(self, states: Arrays) -> Arrays:
        """Return the states at the start of a sequence."""
        return {name: np.full_like(array, self._value) for name, array in states.items()}


class Carried(Behaviour):
    """Replaces each carried state, or only the state ``only``, by ``change(name, before, after, outputs, step)``."""

    def __init__(self, change: Callable[..., Array], only: str = "") -> None:
        self._change, self._only = change, only

    def carried(self, run: dict[str, Any], step: int, before: Arrays, after: Arrays, outputs: Arrays) -> Arrays:  # noqa: ARG002 - as declared
        """Return the states for the next step."""
        return {
            name: np.ascontiguousarray(self._change(name, before, after, outputs, step), np.float32)
            if self._only in ("", name)
            else array
            for name, array in after.items()
        }


class Late(Behaviour):
    """Carries states one step late."""

    def carried(self, run: dict[str, Any], step: int, before: Arrays, after: Arrays, outputs: Arrays) -> Arrays:  # noqa: ARG002 - as declared
        """Return the states for the next step."""
        carried = run.get("after", before)
        run["after"] = after
        return dict(carried)


class Shared(Behaviour):
    """All sequences in flight share one set of states."""

    def __init__(self) -> None:
        self._states: Arrays = {}

    def begin(self, states: Arrays) -> Arrays:
        """Return the states at the start of a sequence."""
        self._states = states
        return states

    def carried(self, run: dict[str, Any], step: int, before: Arrays, after: Arrays, outputs: Arrays) -> Arrays:  # noqa: ARG002 - as declared
        """Return the states for the next step."""
        self._states = after
        return after

    def states_of(self, states: Arrays) -> Arrays:
        """Return the states that a step gets."""
        same = all(self._states[name].shape == array.shape for name, array in states.items())
        return self._states if same else states


class Feeds(Behaviour):
    """Feeds the inputs of the previous step."""

    def feed(self, run: dict[str, Any], feed: Arrays) -> Arrays:
        """Return the inputs of a step."""
        late = run.get("feed", feed)
        run["feed"] = feed
        return dict(late)


class Answers(Behaviour):
    """Returns ``change(array, step)`` of each output that is not a state."""

    def __init__(self, change: Callable[[Array, int], Array]) -> None:
        self._change = change

    def answer(self, step: int, outputs: Arrays) -> Arrays:
        """Return the outputs of a step."""
        return {name: self._change(array, step) if name == "y" else array for name, array in outputs.items()}


class Last(Behaviour):
    """Omits the last ``count`` steps of a sequence, or repeats the outputs of the step before them."""

    def __init__(self, count: int, *, repeated: bool) -> None:
        self._count, self._repeated = count, repeated

    def ended(self, answers: Arrays) -> Arrays:
        """Return the outputs of a whole sequence."""
        if len(answers["y"]) <= 2 * self._count:  # a sequence that is run step by step
            return answers
        kept = {name: array[: -self._count] for name, array in answers.items()}
        if not self._repeated:
            return kept
        return {name: np.concatenate([array, np.repeat(array[-1:], self._count, 0)]) for name, array in kept.items()}
