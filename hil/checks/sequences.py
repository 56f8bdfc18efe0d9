"""Judges ``sequence.reset`` and ``sequence.isolation``: do outputs depend on what ran before or beside a sequence?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks.comparison import Comparison
from hil.checks.verdicts import failed, inconclusive, judged
from hil.dtypes import differences
from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.checks.blocks import Outputs
    from hil.checks.numbers import Array
    from hil.config.spec import Precision, TolerancesSpec

FEWEST = 2
"""Fewest sequences: one sequence alone has nothing before it and nothing beside it."""


def reset(first: Outputs, again: Outputs, *, sequences: int) -> Judgement:
    """Judge ``sequence.reset``: does a sequence give the same outputs, bit for bit, after ``sequences`` others?

    ``first`` are the outputs of the sequence before the others, ``again`` its outputs after them.
    """
    empty = _nothing(first, sequences)
    if empty is not None:
        return empty
    wrong = _differs(first, again)
    if wrong:
        return failed(f"after another sequence, a sequence gives different outputs: {wrong}: {_RESET}")
    return judged(Verdict.PASSED, f"a sequence of {len(first[0][1])} steps gave the same outputs after another one")


_RESET = "the state is not reset where a sequence begins"
_SHARED = "the sequences share a state"
_LEAK = "the sequences of a batch influence each other"


def isolation(
    alone: Sequence[Outputs],
    interleaved: Sequence[Outputs],
    *,
    beside: Sequence[tuple[Outputs, Outputs]] = (),
    precision: Precision = "fp32",
    spec: TolerancesSpec | None = None,
) -> Judgement:
    """Judge ``sequence.isolation``: does no sequence change the outputs of another that runs at the same time?

    ``alone`` are the outputs of each sequence by itself, ``interleaved`` those with steps of the others in between;
    both must be identical. ``beside`` has, for sequences of a batch, their outputs in it and in a batch of copies,
    which must agree within the tolerances; empty if batches hold one sequence.
    """
    empty = _nothing(alone[0], len(alone) - 1)
    if empty is not None:
        return empty
    wrong = next(filter(None, map(_differs, alone, interleaved)), "")
    if wrong:
        return failed(f"interleaved with another, a sequence gives different outputs: {wrong}: {_SHARED}")
    if not beside:
        return judged(Verdict.PASSED, "interleaved with another sequence, a sequence gave identical outputs")
    for number, (one, other) in enumerate(beside):
        wrong = _structure(one, other)
        comparison = Comparison(precision, spec)
        if not wrong:
            comparison.update(one, other, samples=len(one[0][1]))
        if wrong or not comparison.within():
            at = wrong or comparison.fatal or _first(one, other)
            return failed(
                f"beside other sequences in its batch, sequence {number} gives different outputs: {at}: {_LEAK}"
            )
    return judged(Verdict.PASSED, "sequences gave the same outputs interleaved with another and in other batches")


def _nothing(outputs: Outputs, sequences: int) -> Judgement | None:
    if sequences < FEWEST - 1:
        return inconclusive("there is only one sequence, so nothing can run before or beside it: add sequences")
    varies = any(len(array) > 1 and array[0].tobytes() != array[-1].tobytes() for _, array in outputs)
    if not varies:
        return inconclusive("the outputs do not change from step to step: use sequences in which something happens")
    return None


def _structure(one: Outputs, other: Outputs) -> str:
    if [name for name, _ in one] != [name for name, _ in other]:
        return f"outputs {[name for name, _ in other]} instead of {[name for name, _ in one]}"
    for (name, ours), (_, theirs) in zip(one, other, strict=True):
        if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
            return f"output {name!r} is {theirs.dtype}{list(theirs.shape)} instead of {ours.dtype}{list(ours.shape)}"
    return ""


def _differs(one: Outputs, other: Outputs) -> str:
    """Return, as text, where two runs of a sequence differ in any bit; empty if they do not."""
    same = all(ours.tobytes() == theirs.tobytes() for (_, ours), (_, theirs) in zip(one, other, strict=False))
    return _structure(one, other) or ("" if same else _first(one, other) or "in the sign of a 0 or the bits of a NaN")


def _first(one: Outputs, other: Outputs) -> str:
    """Return, as text, the first step in which two runs differ, and by how much; empty if no number differs."""
    found = []
    for (name, ours), (_, theirs) in zip(one, other, strict=True):
        apart = _apart(ours, theirs)
        if apart.any():
            step = int(apart.astype(bool).argmax())
            found.append((step, f"output {name!r} from step {step} on, there by up to {apart[step]:.6g}"))
    return min(found)[1] if found else ""


def _apart(ours: Array, theirs: Array) -> Array:
    """Return the largest difference in each step, shape [steps]; infinite where only one side is NaN."""
    largest: Array = differences(ours, theirs).reshape(len(ours), -1).max(axis=1, initial=0.0)
    return largest
