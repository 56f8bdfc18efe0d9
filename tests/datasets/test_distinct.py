"""Distinct samples: exact and noisy copies count once; samples that differ are never counted as copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.datasets import distinct as counting
from hil.datasets.distinct import distinct
from hil.datasets.likeness import near
from hil.datasets.statistics import statistics_of
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    import numpy.typing as npt


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return noise of unit variance."""
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def copies(of: npt.NDArray[np.float32], times: int, noise: float) -> npt.NDArray[np.float32]:
    """Return each sample ``times`` times, with relative noise, in random order."""
    again = np.repeat(of, times, axis=0)
    return np.random.default_rng(1).permutation(again * (1 + noise * normal(*again.shape, seed=2)))


@pytest.mark.parametrize("size", [2, 6, 64, 3000])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-6])
def test_copies_up_to_noise_count_once(size: int, noise: float) -> None:
    """400 copies of one sample are one sample, and 400 copies of four samples are four."""
    assert distinct(MemoryData(x=copies(normal(1, size), 400, noise))) == 1
    assert distinct(MemoryData(x=copies(10 * normal(4, size, seed=3), 100, noise))) == 4
    assert statistics_of(MemoryData(x=copies(normal(1, size), 50, noise))).distinct == 1


@given(st.integers(1, 40), st.integers(2, 300), st.integers(0, 9), st.sampled_from([1, 7, 64]))
@settings(max_examples=25)
def test_drawn_samples_are_distinct(size: int, samples: int, seed: int, batch: int) -> None:
    """Random samples are distinct, except for a few chance pairs, at any sample size and batch size."""
    values = np.random.default_rng(seed).random((samples, size)).astype(np.float32)
    exact = len(np.unique(values, axis=0))
    assert exact - 3 <= distinct(MemoryData(x=values), batch=batch) <= exact


@pytest.mark.parametrize("name", ["digits", "scenes", "arm"])
@pytest.mark.parametrize("part", ["validation", "calibration"])
def test_bundled_samples_are_distinct(name: str, part: str) -> None:
    """In the bundled data each sample is distinct."""
    with np.load(f"examples/{name}/{part}.npz", allow_pickle=False) as stored:
        inputs = {key: stored[key] for key in stored.files if not key.startswith("labels")}
    data = MemoryData(**inputs)
    assert distinct(data) == data.count


def test_each_input_counts() -> None:
    """A large constant input does not hide differences of another input; token numbers are compared exactly."""
    image, constant = normal(50, 64), np.full((50, 64), 1e6, np.float32)
    assert distinct(MemoryData(image=image, where=constant)) == 50
    tokens = np.arange(50)[:, None] % 5
    assert distinct(MemoryData(image=copies(image[:1], 50, 1e-6), tokens=tokens)) == 5
    assert distinct(MemoryData(tokens=tokens)) == 5


def test_rounding_of_a_constant_image_is_no_difference() -> None:
    """Images without a signal that differ by rounding are copies."""
    assert distinct(MemoryData(x=np.float32(1) + 1e-6 * normal(100, 64))) == 1


def test_the_number_of_compared_samples_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of stored samples, exact copies still count once, and noisy copies of recent samples do."""
    monkeypatch.setattr(counting, "MOST", 20)
    many = normal(100, 64)
    assert distinct(MemoryData(x=np.concatenate([many, many, copies(many[-1:], 50, 1e-6)]))) == 100


def test_only_the_first_samples_count() -> None:
    """With a number of samples, ``distinct`` counts only that many samples from the beginning."""
    data = MemoryData(x=np.concatenate([copies(normal(1, 64), 30, 1e-6), normal(70, 64, seed=5)]))
    assert [distinct(data, count) for count in (30, 31, None)] == [1, 2, 71]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 3)], ids=str)
def test_an_input_without_elements_distinguishes_nothing(shape: tuple[int, ...]) -> None:
    """Samples of a zero-length input are equal in that input; other inputs still count."""
    empty = np.zeros((5, *shape), np.float32)
    assert distinct(MemoryData(x=empty)) == 1
    both = MemoryData(x=empty, y=normal(5, 64))
    assert distinct(both) == 5
    assert set(statistics_of(both).inputs) == {"y"}
    assert len(near(both, both).pairs) == 5
