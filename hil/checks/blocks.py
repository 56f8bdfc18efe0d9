"""Batches that are compared together: how many at a time, and which of them have the same structure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hil.dtypes import is_number

if TYPE_CHECKING:
    Array = npt.NDArray[Any]
    IntArray = npt.NDArray[np.int64]

Outputs = Sequence[tuple[str, "Array"]]
"""Named outputs of one batch, in the order in which the engine returned them."""

Form = tuple[tuple[str, Any, tuple[int, ...]], ...]
"""Name, dtype and shape of each output of a batch."""

MOST_BYTES = 1 << 18
"""Bytes of the outputs of both sides that are compared at once; a larger batch is compared alone."""

MOST_BATCHES = 256


class Pair(NamedTuple):
    """The outputs of one batch on both sides, and how many samples it holds, if that is known.

    A side is ``None`` if it ended before this batch.
    """

    reference: Outputs | None
    candidate: Outputs | None
    samples: int | None = None


class Batch(NamedTuple):
    """The outputs of one batch whose structure is right, and ``rows``, its number of samples.

    Only batches with an equal ``form`` are added together.
    """

    reference: dict[str, Array]
    candidate: dict[str, Array]
    rows: int
    form: tuple[Form, int]


def blocks(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """Yield ``pairs`` in order, in blocks of limited size. Their iterator's error is raised after the last block."""
    block: list[Pair] = []
    size, problem = 0, None
    source = iter(pairs)
    while True:
        try:
            pair = next(source)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - raised again below
            problem = error
            break
        own = sum(array.nbytes for side in pair[:2] for _, array in side or ())
        if block and (size + own > MOST_BYTES or len(block) == MOST_BATCHES):
            yield block
            block, size = [], 0
        block.append(pair)
        size += own
    if block:
        yield block
    if problem is not None:
        raise problem


def form_of(outputs: Outputs) -> Form:
    """Return name, dtype and shape of each output, in order."""
    return tuple((name, array.dtype, array.shape) for name, array in outputs)


def together(alike: Sequence[Batch], name: str, first: int) -> tuple[Array, Array, IntArray]:
    """Return output ``name`` of both sides for batches of one form, [batches, ...], and the numbers of its samples.

    ``first`` is the number of the first sample. A batch without an axis of samples counts as one sample.
    """
    rows, shape = alike[0].rows, alike[0].reference[name].shape
    along = rows if shape and shape[0] == rows else 1
    numbers = first + np.add.outer(rows * np.arange(len(alike)), np.arange(along)).ravel()
    ours, theirs = [one.reference[name] for one in alike], [one.candidate[name] for one in alike]
    if len(alike) == 1:  # which may be large: no copy
        return ours[0][None], theirs[0][None], numbers
    return np.stack(ours), np.stack(theirs), numbers


def ended(pair: Pair, number: int) -> str:
    """Return, as text, which side of ``pair`` is missing; ``number`` is the number of batches before it."""
    which, other = ("reference", "engine") if pair.reference is None else ("engine", "reference")
    return f"the {which} ended after {number} batches, the {other} had more"


def structure(reference: Outputs, candidate: Outputs) -> str:
    """Return, as text, how the names, dtypes or shapes of a batch's outputs differ between the sides; empty if not."""
    names, others = [name for name, _ in reference], [name for name, _ in candidate]
    if not names:
        return "the reference has no outputs"
    for whose, own in (("reference", names), ("engine", others)):
        if len(set(own)) != len(own):
            return f"the {whose} returns an output twice: {sorted(own)}"
    lacking, extra = sorted(set(names) - set(others)), sorted(set(others) - set(names))
    if lacking or extra:
        parts = [f"lacks output {', '.join(lacking)}"] * bool(lacking) + [f"adds output {', '.join(extra)}"] * bool(
            extra
        )
        return f"the engine {' and '.join(parts)}; the reference has {', '.join(names)}"
    theirs = dict(candidate)
    return next((wrong for name, array in reference if (wrong := _pair(name, array, theirs[name]))), "")


def _pair(name: str, ours: Array, theirs: Array) -> str:
    if ours.dtype != theirs.dtype:
        return f"output {name!r} is {theirs.dtype}, the reference's is {ours.dtype}"
    if ours.shape != theirs.shape:
        return f"output {name!r} has shape {list(theirs.shape)}, the reference's has {list(ours.shape)}"
    if not is_number(ours.dtype):
        return f"output {name!r} is {ours.dtype}: only numbers can be compared"
    return ""


def rows_of(outputs: Mapping[str, Array]) -> int:
    """Return the size of the first axis if all outputs agree on it, else 1."""
    firsts = {array.shape[0] if array.ndim else 1 for array in outputs.values()}
    return firsts.pop() if len(firsts) == 1 else 1
