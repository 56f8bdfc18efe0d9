"""Batches that are compared together have the result of single batches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks.blocks import MOST_BATCHES, MOST_BYTES, Pair, blocks
from hil.checks.comparison import Comparison
from hil.errors import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.checks.blocks import Outputs


def batch(*values: float) -> Outputs:
    """Return one batch with an output ``y`` of one sample."""
    return [("y", np.asarray([values], np.float32))]


def equal(ours: Any, theirs: Any) -> bool:
    """Return whether two values of JSON are equal but for the rounding of sums."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    if isinstance(ours, float):
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)
    return bool(ours == theirs)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([(4,), (2, 5), ()])), min_size=1, max_size=12),
    st.sampled_from(["float32", "float16", "int32", "bool"]),
    st.sampled_from(["sound", "off", "one sample off", "masked", "one batch differs in NaN", "shape", "ended"]),
    st.integers(0, 2**32 - 1),
)
def test_a_block_is_judged_as_its_batches_one_by_one(
    batches: list[tuple[int, tuple[int, ...]]], dtype: str, kind: str, seed: int
) -> None:
    """Batches that are compared together give the same verdict, reason and details as one by one."""
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    chosen = int(rng.integers(len(batches)))
    for number, (rows, shape) in enumerate(batches):
        x = rng.normal(1, 1, (rows, *shape)) * 3
        y = x + rng.normal(0, 0.1 if kind == "off" else 1e-3, x.shape)
        if kind == "one sample off" and number == chosen:
            y[-1] = rng.normal(0, 5, shape)
        if kind == "masked" and dtype.startswith("float"):
            mask = rng.random(x.shape) < 0.3
            x, y = np.where(mask, np.inf, x), np.where(mask, np.inf, y)
        ours, theirs = x.astype(dtype), y.astype(dtype)
        if kind == "one batch differs in NaN" and number == chosen and ours.dtype.kind == "f":
            theirs[-1] = np.nan
        if kind == "shape" and number == chosen:
            theirs = theirs[None]
        scalar = np.asarray(ours.ravel()[:1].sum())
        ended = kind == "ended" and number == chosen
        candidate = None if ended else [("y", theirs), ("n", scalar), ("boxes", theirs.reshape(-1)[:3])]
        pairs.append(Pair([("y", ours), ("n", scalar), ("boxes", ours.reshape(-1)[:3])], candidate, rows))
    together, single = Comparison("int8"), Comparison("int8")
    together.add(pairs)
    for pair in pairs:
        single.add([pair])
    ours_judged, theirs_judged = single.judge(), together.judge()
    assert together.fatal == single.fatal
    assert equal(ours_judged.model_dump(mode="json"), theirs_judged.model_dump(mode="json"))


def test_a_block_has_a_limit_of_bytes_and_of_batches() -> None:
    """Small batches are compared many at a time, a batch over the limit alone."""
    small = [Pair(batch(1, 2), batch(1, 2))] * (MOST_BATCHES + 1)
    large, larger = (Pair(batch(*np.zeros(size)), batch(*np.zeros(size))) for size in (MOST_BYTES // 8, MOST_BYTES))
    sizes = [len(block) for block in blocks([*small, large, large, larger, *small[:2]])]
    assert sizes == [MOST_BATCHES, 1, 1, 1, 1, 2]


def test_what_came_before_an_error_is_compared_first() -> None:
    """A wrong output before a crash fails the comparison; if all outputs before it are right, the crash is raised."""

    def engine() -> Iterator[Outputs]:
        yield batch(1, 2)
        yield batch(1, np.nan)
        raise WorkerLost("the worker died")

    wrong = Comparison("fp32").consume([batch(1, 2)] * 4, engine())
    assert "differ in NaN or infinity, first at sample 1" in wrong.fatal
    with pytest.raises(WorkerLost):
        Comparison("fp32").consume([batch(1, 2), batch(1, np.nan)] * 2, engine())


def test_of_equal_errors_the_earliest_are_listed() -> None:
    """Of many errors of equal size, the elements listed are those of the first samples."""
    ours, theirs = [[("y", np.full((1, 4), value))] for value in (0, 1)]
    comparison = Comparison("fp32").consume([ours] * 9, [theirs] * 9)
    assert [(one.sample, one.index) for one in comparison.numbers["y"].worst] == [
        *((0, (column,)) for column in range(4)),
        (1, (0,)),
    ]
