"""Finds a class of answers that an engine has lost, however few of all answers have it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hil.metrics.agreement.evidence import joined
from hil.stats import share_bounds

if TYPE_CHECKING:
    from hil.metrics.agreement.evidence import Evidence
    from hil.metrics.metric import Array, FloatArray

LOST = 0.5
"""A class, component or point is lost if more than this share of its answers changed. Only its answers then count."""

CONFIDENCE = 0.99
"""A class is lost only if the lower bound of its changed share exceeds ``LOST`` with this confidence, which is for all
classes together. For a single class, 7 changed answers of 7 suffice."""


@dataclass
class ByClass:
    """The change of each class of the reference's answers in each sample that has it, over all batches."""

    _samples: dict[int, list[Array]] = field(default_factory=dict)
    _changes: dict[int, list[FloatArray]] = field(default_factory=dict)

    def add(self, one: int, samples: Array, changes: FloatArray) -> None:
        """Add the changes, each from 0 to 1, of the class ``one`` in the samples with these indices."""
        self._samples.setdefault(one, []).append(samples)
        self._changes.setdefault(one, []).append(changes)

    def add_all(self, ours: Array, theirs: Array, silent: Array, first: int) -> None:
        """Add the classes (samples, positions) of a batch; ``first`` is the index of its first sample.

        ``silent`` has, by sample, the class that is not an answer.
        """
        wrong, counted = ours != theirs, ours != silent
        for one in np.unique(ours[counted]):
            at = counted & (ours == one)
            (rows,) = np.nonzero(at.any(axis=1))
            self.add(int(one), first + rows, (wrong & at).sum(axis=1)[rows] / at.sum(axis=1)[rows])

    def alone(self, evidence: Evidence) -> Evidence:
        """Return ``evidence`` with only the answers of the worst lost class.

        It is unchanged if no class is lost, or if the mean change of all answers is over ``LOST``.
        """
        if evidence.changed.size and evidence.changed.mean() > LOST:
            return evidence
        changes = {one: joined(parts) for one, parts in self._changes.items()}
        confidence = 1 - (1 - CONFIDENCE) / max(len(changes), 1)
        bounds = {one: share_bounds(all_of, confidence)[0] for one, all_of in changes.items() if all_of.mean() > LOST}
        worst = max(bounds, key=lambda one: bounds[one], default=None)
        if worst is None or bounds[worst] <= LOST:
            return evidence
        part = f"class {worst}" if worst >= 0 else "the answer 'no'"
        return replace(evidence, changed=changes[worst], samples=np.concatenate(self._samples[worst]), part=part)
