from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.protocol.wire import ITEM_SIZES
from hil.config.fields import Draws
from hil.dtypes import limits
from hil.errors import WorkerLost
from hil.onnx_files.signature import Signature, TensorSpec
from hil.session.properties.drawing import KINDS, Drawn, Recipe, Searched, Space, search

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = Signature(
    inputs=(TensorSpec("image", "float32", ("n", 3, "side", None)), TensorSpec("ids", "int64", ("n", 4))),
    outputs=(TensorSpec("y", "float32", ("n",)),),
)
SPACE = Space(SIGNATURE, {"image": (-1.0, 2.0), "ids": (0.0, 9.0)}, {"side": (2, 5), "image[3]": (1, 3)}, (1, 4))


@given(SPACE.batches())
def test_every_batch_is_valid(drawn: Drawn) -> None:
    """Dtypes, shapes and values are within the space, equal names have equal sizes, and the arrays are repeatable."""
    feeds = drawn.feeds(SPACE)
    count = len(drawn.samples)
    assert feeds["image"].dtype == np.float32
    assert feeds["ids"].dtype == np.int64
    assert feeds["image"].shape[:2] == (count, 3)
    assert 2 <= feeds["image"].shape[2] <= 5
    assert 1 <= feeds["image"].shape[3] <= 3
    assert feeds["ids"].shape == (count, 4)
    assert feeds["image"].min() >= -1
    assert feeds["image"].max() <= 2
    assert set(np.unique(feeds["ids"])) <= set(range(10))
    assert all(np.array_equal(feeds[name], array) for name, array in drawn.feeds(SPACE).items())


@given(st.sampled_from(KINDS), st.integers(0, 16), st.integers(0, 99), st.sampled_from([(0,), (1,), (2, 3)]))
def test_samples_of_every_kind_are_within_their_range(kind: str, level: int, seed: int, shape: tuple[int, ...]) -> None:
    """Values of every kind and shape, also an empty one, are within the range."""
    array = Recipe(kind, level, seed).array("float32", shape, 0.25, 0.5)
    assert array.shape == shape
    assert ((array >= 0.25) & (array <= 0.5)).all()


def test_a_search_is_deterministic_and_shrinks_to_the_simplest_batch() -> None:
    """Two searches try the same batches; if noise fails at sides of 4 or more, the result is noise at side 4."""
    batches: list[list[Drawn]] = [[], []]

    def trial(drawn: Drawn, into: list[Drawn]) -> str:
        into.append(drawn)
        bad = dict(drawn.sizes)["side"] >= 4 and any(recipe.kind == "noise" for recipe in drawn.samples)
        return "wrong" if bad else ""

    results = [search(SPACE, Draws(50, 50, None), lambda drawn, into=into: trial(drawn, into)) for into in batches]  # type: ignore[misc]  # bound early
    assert batches[0] == batches[1]
    assert results[0] == results[1]
    smallest = results[0].smallest
    assert results[0].wrong == "wrong"
    assert smallest is not None
    assert dict(smallest.sizes) == {"side": 4, "image[3]": 1}
    assert smallest.samples == (Recipe("noise", 0, 0),)


def test_other_imports_do_not_change_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants in an imported module of the user do not influence the drawn batches."""
    batches: list[list[Drawn]] = [[], []]

    def trial(drawn: Drawn, into: list[Drawn]) -> str:
        into.append(drawn)
        return ""

    search(SPACE, Draws(150, 150, None), lambda drawn: trial(drawn, batches[0]))
    (tmp_path / "numbers_of_mine.py").write_text(f"SEEDS = {list(range(30000, 30400))}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("numbers_of_mine")
    search(SPACE, Draws(150, 150, None), lambda drawn: trial(drawn, batches[1]))
    assert batches[0] == batches[1]


def test_all_batches_are_counted_without_a_failure() -> None:
    """A search without a failure counts all requested batches and their samples."""
    sizes: list[int] = []

    def trial(drawn: Drawn) -> str:
        sizes.append(len(drawn.samples))
        return ""

    assert search(SPACE, Draws(40, 40, None), trial) == Searched(examples=40, samples=sum(sizes))


def test_a_search_without_time_tries_the_fewest_batches() -> None:
    """A search whose time is over ends after the fewest batches, and a longer search tries the same ones first."""
    batches: list[list[Drawn]] = [[], []]

    def trial(drawn: Drawn, into: list[Drawn]) -> str:
        into.append(drawn)
        return ""

    found = search(SPACE, Draws(40, 7, 0.0), lambda drawn: trial(drawn, batches[0]))
    search(SPACE, Draws(40, 40, None), lambda drawn: trial(drawn, batches[1]))
    assert found.examples == len(batches[0]) == 7
    assert batches[0] == batches[1][:7]


def test_batches_that_judge_nothing_are_counted_apart() -> None:
    """Batches that judge nothing do not count as examples; the first real failure is still found."""
    odd = search(SPACE, Draws(40, 40, None), lambda drawn: None if dict(drawn.sizes)["side"] % 2 else "")
    assert odd.refused > 0
    assert odd.examples == 40 - odd.refused
    assert search(SPACE, Draws(40, 40, None), lambda _: None) == Searched(refused=40)
    assert (
        search(SPACE, Draws(40, 40, None), lambda drawn: "wrong" if dict(drawn.sizes)["side"] == 4 else None).wrong
        == "wrong"
    )


def test_sizes_are_multiples_of_what_is_declared() -> None:
    """Sizes are multiples of the declared number; every multiple and every listed size is drawn."""
    signature = replace(SIGNATURE, multiples={"side": 8})
    space = replace(SPACE, signature=signature, sizes={"side": (8, 16, 40), "image[3]": (1,)})
    sizes: list[int] = []

    def trial(drawn: Drawn) -> str:
        sizes.append(dict(drawn.sizes)["side"])
        return ""

    search(space, Draws(60, 60, None), trial)
    assert set(sizes) == {8, 16, 24, 32, 40}


def test_a_lost_worker_ends_the_search() -> None:
    """``WorkerLost`` propagates after one trial: it is not retried, and not reported as a failed property."""
    trials: list[int] = []

    def trial(_drawn: Drawn) -> str:
        trials.append(1)
        raise WorkerLost("the worker ended")

    with pytest.raises(WorkerLost):
        search(SPACE, Draws(50, 50, None), trial)
    assert len(trials) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", sorted(ITEM_SIZES))
def test_every_dtype_and_rank_is_drawn(dtype: str, kind: str) -> None:
    """Each type of numbers is drawn within its range, as a scalar and with a zero-length dimension too."""
    least, greatest = limits(np.dtype(dtype))
    low, high = max(least, -5.0), min(greatest, 5.0)
    for shape in ((), (3, 2), (0, 2)):
        array = Recipe(kind, 7, 3).array(dtype, shape, low, high)
        assert (array.dtype.name, array.shape) == (dtype, shape)
        assert all(low <= float(value) <= high for value in array.ravel())
