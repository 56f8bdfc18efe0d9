"""Hold sequences of steps in the form in which a model with a state takes them, one step after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arrays = dict[str, np.ndarray[Any, Any]]

FEWEST_STEPS = 2
"""The fewest steps of a sequence: in a single step, no state is carried."""


@dataclass(frozen=True)
class Sequence:
    """The sequences of one batch, side by side, each with the same number of steps.

    Attributes:
        steps: for each input that is not carried, ``[steps, *shape]``, where ``shape`` is what one call takes.
        begin: for each carried input, its state where the sequences begin.
        carry: for each carried input, the output that feeds it in the next step.
    """

    steps: Arrays
    begin: Arrays
    carry: Mapping[str, str]

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(next(iter(self.steps.values())))

    def step(self, number: int) -> Arrays:
        """Return the inputs of one step, except the carried ones."""
        return {name: array[number, ...] for name, array in self.steps.items()}  # ...: arrays also of scalars

    def states(self, outputs: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Return the states before each step, ``[steps, *shape]``, by carried input.

        ``outputs`` are the model's outputs of all steps, with the steps as their first dimension.
        """
        return {
            name: np.concatenate([self.begin[name][None], outputs[source][:-1]]) for name, source in self.carry.items()
        }

    def is_still(self) -> bool:
        """Return whether each input that is not carried is the same in all steps."""
        return all((array[1:] == array[0]).all() for array in self.steps.values())
