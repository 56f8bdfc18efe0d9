"""Compares texts (``ctc``), and answers that a callable of the user returns (``decode``)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.callables import load_callable
from hil.errors import UserError
from hil.metrics.agreement.evidence import Changes, Evidence, class_axis, samples_first
from hil.metrics.agreement.lost import ByClass

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from hil.config.spec import OutputSpec
    from hil.metrics.metric import Array, Arrays

Text = tuple[int, ...]

MOST = 2**16
"""The most answers read from a callable for one batch, in case it yields without end."""


class _Repeated:
    """Counts the answers of the reference, to find the commonest one."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()

    def add(self, answer: Hashable) -> None:
        self._counts[answer] += 1

    def constant(self) -> float:
        """Return the share of answers that are not the commonest; 1 without answers."""
        return 1 - max(self._counts.values()) / sum(self._counts.values()) if self._counts else 1.0


class Texts:
    """Compares the texts that greedy CTC decoding reads from scores [samples, steps, classes].

    If samples are on the second axis, the steps are on the first. The change of a text is its edit distance over the
    length of the longer text. A sample in which both sides read an empty text is not counted. If a class is lost
    (``ByClass``), the change is instead the share of its occurrences that the engine's text lacks.
    """

    kind = "ctc"

    def __init__(self, name: str, spec: OutputSpec) -> None:
        """Compare the output ``name`` as ``spec`` declares it."""
        self.outputs = (name,)
        self._spec = spec
        self._changes, self._repeated, self._by_class = Changes(), _Repeated(), ByClass()

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch; raises ``UserError`` if they do not fit the declared kind."""
        ours, theirs = (self._texts(side[self.outputs[0]], samples) for side in (reference, candidate))
        changed = np.empty(samples)
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            longest = max(len(mine), len(other))
            changed[place] = edit_distance(mine, other) / longest if longest else np.nan
            if mine:
                self._repeated.add(mine)
            left = Counter(other)
            for one, count in Counter(mine).items():
                fewer = max(count - left[one], 0) / count
                self._by_class.add(one, np.array([self._changes.total + place]), np.array([fewer]))
        self._changes.add(changed, sum(not text for text in ours))

    def _texts(self, scores: Array, samples: int) -> list[Text]:
        name = self.outputs[0]
        steps_first = scores.ndim == 3 and len(scores) != samples == scores.shape[1]  # (steps, samples, classes)
        scores = samples_first(name, self.kind, scores.swapaxes(0, 1) if steps_first else scores, samples)
        if scores.ndim != 3:  # (samples, steps, classes)
            raise UserError(
                f"output {name!r} has shape {list(scores.shape)}: kind 'ctc' needs samples, steps and classes: "
                "correct or remove the kind"
            )
        axis = class_axis(name, self._spec, 3, 2)
        blank = self._spec.blank % scores.shape[axis]
        return [_collapsed(classes, blank) for classes in scores.argmax(axis=axis)]

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        changes = self._changes
        nothing, constant = "reads an empty text", self._repeated.constant()
        evidence = Evidence(*changes.counted(), changes.total, changes.silent, nothing, constant)
        return self._by_class.alone(evidence)


class Decoded:
    """Compares what a callable returns for each sample: an array, or any other value; ``None`` is not an answer."""

    kind = "decode"

    def __init__(self, name: str, spec: OutputSpec, root: Path, model: str, where: str) -> None:
        """Import the callable from ``root``; raises ``UserError`` if that fails."""
        self.outputs = (name,)
        self._function = load_callable(spec.decode or "", root, model=model, where=f"{where}: decode")
        self._changes, self._repeated = Changes(), _Repeated()

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch; raises ``UserError`` if the callable fails or returns too few answers."""
        ours, theirs = (self._answers(side, samples) for side in (reference, candidate))
        for mine in ours:
            if mine is not None:
                self._repeated.add(mine)
        pairs = zip(ours, theirs, strict=True)
        changed = [np.nan if mine is other is None else float(mine != other) for mine, other in pairs]
        self._changes.add(np.array(changed), ours.count(None))

    def _answers(self, outputs: Arrays, samples: int) -> list[Hashable]:
        result = self._function(dict(outputs))
        answers: list[Hashable] = []
        with self._function.blamed():
            for answer in result:
                answers.append(None if answer is None else _key(answer))
                if len(answers) > MOST:
                    break
        if len(answers) != samples:
            raise UserError(
                f"{self._function.name} returned {len(answers)} answers for {samples} samples: output "
                f"{self.outputs[0]!r} of model {self._function.model}: return one answer per sample"
            )
        return answers

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        changes = self._changes
        return Evidence(*changes.counted(), changes.total, changes.silent, "gives no answer", self._repeated.constant())


def edit_distance(one: Text, other: Text) -> int:
    """Return the least number of insertions, deletions and replacements between two texts (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for count, mine in enumerate(one, start=1):
        above, row[0] = row[0], count
        for place, theirs in enumerate(other, start=1):
            above, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above + (mine != theirs))
    return row[-1]


def _collapsed(classes: Array, blank: int) -> Text:
    """Return the classes without repetitions and then without blanks (Graves et al., ICML 2006)."""
    first = np.concatenate([[True], classes[1:] != classes[:-1]]) if len(classes) else np.zeros(0, bool)
    return tuple(int(one) for one in classes[first] if one != blank)


def _key(answer: Any) -> Hashable:
    """Return a hashable value that is equal for equal answers."""
    if isinstance(answer, (str, bytes)):
        return answer
    array = np.asarray(answer)
    return repr(answer) if array.dtype == object else (array.shape, *array.ravel().tolist())
