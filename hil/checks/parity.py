"""Judge the validation data and whether outputs are repeatable; re-exports the other ``parity`` checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.comparison import Comparison
from hil.checks.task import Scores, task
from hil.checks.verdicts import failed, inconclusive, judged
from hil.dtypes import differences
from hil.results import Judgement, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from hil.checks.blocks import Outputs

__all__ = ["Comparison", "DataFacts", "Overlap", "Scores", "data", "overlap", "repeatable", "task"]

FEW = 10
"""The number of validation samples below which ``parity.data`` is warned."""

LABELLESS = frozenset({"embedding"})
"""Tasks that need no labels."""


@dataclass(frozen=True)
class Overlap:
    """How many samples of one data set are in another too, by digest.

    Attributes:
        count: the number of these samples.
        examples: digests of up to five of them.
        checked: the size of the first data set.
        against: the number of distinct digests in the other.
    """

    count: int
    examples: tuple[str, ...]
    checked: int
    against: int


def overlap(samples: Iterable[str], others: Iterable[str]) -> Overlap:
    """Return how many of the digests ``samples`` are among the digests ``others``, with up to five examples."""
    known = set(others)
    checked, common = 0, []
    for digest in samples:
        checked += 1
        if digest in known:
            common.append(digest)
    return Overlap(len(common), tuple(common[:5]), checked, len(known))


@dataclass(frozen=True)
class DataFacts:
    """What is known about a validation set.

    Attributes:
        count: the number of its samples.
        synthetic: whether it is generated.
        has_labels: whether it has labels.
        task: the task whose metric is computed, if any.
        declared: how many samples the config requests; ``None`` for all.
        distinct: how many samples differ by more than noise.
        training: the overlap with the training data, if that is declared.
        exchanged: for each state that seems fed with the output of another state, the output with a matching name.
        states: for each input that seems to be a state and has no ``carry``, the output that seems to feed it.
    """

    count: int
    synthetic: bool
    has_labels: bool
    task: str | None = None
    declared: int | None = None
    distinct: int | None = None
    training: Overlap | None = None
    exchanged: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)


def data(facts: DataFacts) -> Judgement:
    """Judge ``parity.data``: is the validation data real, sufficient and not used in training?

    Failed if samples or needed labels are missing, or if a sample is, or may be, in the declared training data. Warned
    for synthetic data, fewer than ten distinct samples, mostly repeated samples, or states that seem exchanged.
    """
    details: dict[str, Any] = {"count": facts.count, "synthetic": facts.synthetic, "distinct": facts.distinct}
    if facts.training is not None:
        details["training"] = vars(facts.training)
    wrong = _unfit(facts)
    if wrong:
        return failed(wrong, details)
    worth = facts.count if facts.distinct is None else facts.distinct
    measurement = Measurement(value=facts.count, unit="samples", n=worth)
    weak = _weak(facts)
    if weak:
        return judged(Verdict.WARNED, weak, measurement, details=details)
    training = "not compared with training data, since none is declared"
    if facts.training is not None:
        training = f"none of them among {facts.training.against} training samples"
    steps = "".join(
        f"; input {name!r} seems to be a state, but has no carry: if it is one, write carry = {output!r}"
        for name, output in facts.states.items()
    )
    return judged(Verdict.PASSED, f"{facts.count} real samples, {training}{steps}", measurement, details=details)


def _unfit(facts: DataFacts) -> str:
    count, training = facts.count, facts.training
    if count < 1:
        return "there is no validation sample"
    if facts.declared is not None and count < facts.declared:
        return f"{count} validation samples, {facts.declared} are declared"
    if facts.task and facts.task not in LABELLESS and not facts.has_labels:
        return f"task {facts.task!r} needs labels, but the validation data has none: add them as 'labels'"
    if training is not None and (training.checked < count or training.against < 1):
        return f"only {training.checked} of {count} samples were compared with {training.against} training samples"
    if training is not None and training.count:
        return f"{training.count} of {count} validation samples are in the training data: validate with other samples"
    return ""


def _weak(facts: DataFacts) -> str:
    if facts.exchanged:
        name, output = next(iter(facts.exchanged.items()))
        return (
            f"states seem exchanged: input {name!r} is not fed with output {output!r}, whose name matches: check carry"
        )
    if facts.synthetic:
        return f"{facts.count} synthetic samples: real validation data is needed for a gate"
    if facts.count < FEW:
        return f"only {facts.count} validation samples: at least {FEW} are needed"
    judged_on = facts.count if facts.declared is None else min(facts.count, facts.declared)
    if facts.distinct is not None and (2 * facts.distinct < judged_on or facts.distinct < FEW):
        return f"only {facts.distinct} of {judged_on} validation samples differ by more than noise: add different ones"
    return ""


def repeatable(runs: Sequence[Outputs]) -> Judgement:
    """Judge ``parity.repeatable``: were the outputs of the same batch equal, bit for bit, in each run?

    ``runs`` holds the outputs of each run. Inconclusive with fewer than two runs, failed if no output has elements.
    """
    if len(runs) < 2:
        return inconclusive(f"the batch was run {len(runs)} times, at least two runs are needed")
    first = dict(runs[0])
    if not any(array.size for array in first.values()):
        return failed("no output has an element to compare in any batch: use data for which one has some")
    for number, run in enumerate(runs[1:], start=2):
        wrong = _other(runs[0], run)
        if wrong:
            return failed(f"run {number} of the same batch: {wrong}", {"run": number})
    elements = sum(array.size for array in first.values())
    return judged(Verdict.PASSED, f"{len(runs)} runs of one batch gave {elements} identical elements")


def _other(first: Outputs, again: Outputs) -> str:
    if [name for name, _ in first] != [name for name, _ in again]:
        return f"outputs {[name for name, _ in again]} instead of {[name for name, _ in first]}"
    pairs = zip(first, again, strict=True)
    return next((f"output {n!r}: {wrong}" for (n, ours), (_, theirs) in pairs if (wrong := _differs(ours, theirs))), "")


def _differs(first: npt.NDArray[np.generic], again: npt.NDArray[np.generic]) -> str:
    if first.dtype != again.dtype or first.shape != again.shape:
        return f"{again.dtype}{list(again.shape)} instead of {first.dtype}{list(first.shape)}"
    if first.tobytes() == again.tobytes():
        return ""
    apart = differences(first, again)
    if not apart.any():
        return "the sign of a 0 or the bits of a NaN"
    return f"{np.count_nonzero(apart)} elements, by up to {apart.max():.6g}"
