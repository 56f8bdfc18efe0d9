"""Parity beside the outputs themselves: the data it stands on, repeatability; ``Comparison`` and ``task`` too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.comparison import Comparison, Outputs
from hil.checks.task import Scores, task
from hil.checks.verdicts import failed, inconclusive, judged
from hil.results import Judgement, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

__all__ = ["Comparison", "DataFacts", "Overlap", "Scores", "data", "overlap", "repeatable", "task"]

FEW = 10
"""Validation samples below which parity is only an anecdote: warned."""


LABELLESS = frozenset({"embedding"})
"""Tasks that are scored without labels too."""


@dataclass(frozen=True)
class Overlap:
    """Samples of one data set found in another, by digest."""

    count: int
    examples: tuple[str, ...]
    checked: int
    against: int


def overlap(samples: Iterable[str], others: Iterable[str]) -> Overlap:
    """How many of ``samples`` (digests) are among ``others``; up to five of them as examples."""
    known = set(others)
    seen, found = 0, []
    for digest in samples:
        seen += 1
        if digest in known:
            found.append(digest)
    return Overlap(len(found), tuple(found[:5]), seen, len(known))


@dataclass(frozen=True)
class DataFacts:
    """What is known of a validation set.

    ``declared`` is how many samples the config asked for, ``distinct`` how many of those differ, ``training`` the
    overlap with the training data where that is declared, ``task`` whether a task metric is to be drawn.
    """

    count: int
    synthetic: bool
    has_labels: bool
    task: str | None = None
    declared: int | None = None
    distinct: int | None = None
    training: Overlap | None = None


def data(facts: DataFacts) -> Judgement:
    """``parity.data``: is the validation data real, enough and unseen?

    Failed for none, less than declared, samples of the training data, or a task without labels; warned
    for synthetic data, fewer than ten samples, or mostly repeats.
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
    unseen = "training data is not declared, so not compared with it"
    if facts.training is not None:
        unseen = f"none of them among {facts.training.against} training samples"
    return judged(Verdict.PASSED, f"{facts.count} real samples, {unseen}", measurement, details=details)


def _unfit(facts: DataFacts) -> str:
    count, seen = facts.count, facts.training
    if count < 1:
        return "there is no validation sample"
    if facts.declared is not None and count < facts.declared:
        return f"{count} validation samples, {facts.declared} are declared"
    if facts.task and facts.task not in LABELLESS and not facts.has_labels:
        return f"task {facts.task!r} needs labels, the validation data has none: add them as 'labels'"
    if seen is not None and (seen.checked < count or seen.against < 1):
        return f"only {seen.checked} of {count} samples were compared with {seen.against} training samples"
    if seen is not None and seen.count:
        return f"{seen.count} of {count} validation samples are in the training data"
    return ""


def _weak(facts: DataFacts) -> str:
    if facts.synthetic:
        return f"{facts.count} synthetic samples: real validation data is needed for a gate"
    if facts.count < FEW:
        return f"only {facts.count} validation samples: {FEW} or more say something"
    judged_on = facts.count if facts.declared is None else min(facts.count, facts.declared)
    if facts.distinct is not None and (2 * facts.distinct < judged_on or facts.distinct < FEW):
        return f"only {facts.distinct} of {judged_on} validation samples differ by more than noise"
    return ""


def repeatable(runs: Sequence[Outputs]) -> Judgement:
    """``parity.repeatable``: did the same batch give the same outputs, bit for bit, each time?

    ``runs`` holds the outputs of each run of one and the same batch, two or more.
    """
    if len(runs) < 2:
        return inconclusive(f"the batch was run {len(runs)} times: a repeat needs two")
    first = dict(runs[0])
    if not first or any(not array.size for array in first.values()):
        return failed("there is no output, or an empty one, to compare")
    for number, run in enumerate(runs[1:], start=2):
        wrong = _other(runs[0], run)
        if wrong:
            return failed(f"run {number} of the same batch: {wrong}", {"run": number})
    elements = sum(array.size for array in first.values())
    return judged(Verdict.PASSED, f"{len(runs)} runs of one batch gave {elements} elements bit for bit alike")


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
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(first.astype(np.float64) - again.astype(np.float64))
    return f"{np.count_nonzero(apart)} elements, by up to {np.nanmax(np.append(apart, 0)):.6g}"
