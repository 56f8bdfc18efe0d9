"""Compute the statistics of a data set in one pass: spread, constant samples, distinct samples, classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.distinct import Distinct
from hil.datasets.likeness import is_signal
from hil.dtypes import is_number

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.datasets.dataset import Batch, Dataset

    Array = npt.NDArray[Any]

ELEMENTS = 2**20
"""Number of elements from which an input's spread is computed: the same number from each sample, at places drawn with
a fixed seed."""

TRIMMED = 0.01
CHUNK = 64
_ONE_CLASS = 2  # dimensions of labels (n,) or (n, 1)


@dataclass(frozen=True)
class Spread:
    """How the values of one input spread: mean, standard deviation (``deviation``), ``low`` and ``high``.

    For mean and deviation, values below ``low`` and above ``high`` (the 1st and 99th percentile) are clipped to them.
    ``peaks`` has the largest magnitude of each sample, shape (n,), without clipping.
    """

    mean: float
    deviation: float
    low: float
    high: float
    peaks: Array


@dataclass(frozen=True)
class DataStatistics:
    """The statistics of ``samples`` samples.

    Attributes:
        samples: the number of samples.
        distinct: how many of them differ by more than noise (``hil.datasets.distinct``).
        constant: in how many of them each float and uint8 input has one value everywhere.
        inputs: the distribution of each input.
        classes: the number of samples by integer label; empty if the data has no such labels.
    """

    samples: int
    distinct: int
    constant: int
    inputs: dict[str, Spread]
    classes: dict[int, int]


def statistics_of(data: Dataset, samples: int | None = None, batch: int = CHUNK) -> DataStatistics:
    """Return the statistics of the first ``samples`` of ``data`` (all if ``None``), read ``batch`` at a time."""
    total = data.count if samples is None else min(samples, data.count)
    gathered: dict[str, _Input] = {}
    distinct = Distinct(total)
    classes: Counter[int] = Counter()
    constant = 0
    for one in data.batches(batch, samples):
        rows = len(next(iter(one.inputs.values())))
        distinct.add(one.inputs)
        flat = {
            name: array.reshape(rows, -1) for name, array in one.inputs.items() if is_number(array.dtype) and array.size
        }
        constant += int(_constant(flat).sum())
        for name, array in flat.items():
            gathered.setdefault(name, _Input(array.shape[1], total)).add(array)
        classes.update(_classes(one))
    inputs = {name: one.spread() for name, one in gathered.items()}
    return DataStatistics(total, distinct.count, constant, inputs, dict(sorted(classes.items())))


def _constant(flat: dict[str, Array]) -> Array:
    """Return for each sample whether all elements of each float and uint8 input have the same value.

    Inputs of one element are ignored. The result is empty if no other float or uint8 input exists.
    """
    signals = [one for one in flat.values() if one.shape[1] > 1 and is_signal(one)]
    if not signals:
        return np.zeros(0, bool)
    return np.asarray(np.logical_and.reduce([(one == one[:, :1]).all(axis=1) for one in signals]))


def _classes(batch: Batch) -> list[int]:
    """Return the integer label of each sample; empty if there are no labels or they are not one integer a sample."""
    if len(batch.labels) != 1:
        return []
    truth = next(iter(batch.labels.values()))
    one_each = truth.dtype.kind in "iu" and truth.ndim <= _ONE_CLASS and truth.size == len(truth)
    return [int(value) for value in truth.ravel()] if one_each else []


class _Input:
    """Collects elements of one input, from the same places in all samples of the same size."""

    def __init__(self, size: int, samples: int) -> None:
        self._most = max(1, ELEMENTS // max(1, samples))
        self._places = {size: self._chosen(size)}
        self._picked: list[Array] = []
        self._peaks: list[Array] = []

    def _chosen(self, size: int) -> Array:
        every = np.random.default_rng(0).permutation(size)[: self._most] if size > self._most else np.arange(size)
        return np.sort(every)

    def add(self, array: Array) -> None:
        size = array.shape[1]
        if size not in self._places:
            self._places[size] = self._chosen(size)
        self._picked.append(array[:, self._places[size]].astype(np.float32))
        self._peaks.append(np.abs(array.astype(np.float64)).max(axis=1))

    def spread(self) -> Spread:
        values = np.concatenate([one.ravel() for one in self._picked]).astype(np.float64)
        low, high = np.quantile(values, [TRIMMED, 1 - TRIMMED])
        inner = np.clip(values, low, high)
        return Spread(float(inner.mean()), float(inner.std()), float(low), float(high), np.concatenate(self._peaks))


def far(peaks: Array, times: float) -> list[tuple[int, float]]:
    """Return (index, ratio) of each sample whose peak exceeds the 99th percentile of the peaks by the factor ``times``.

    The ratio is that of the peak to the percentile, and the largest comes first. With few samples, the second largest
    peak takes the place of the percentile. Return an empty list for fewer than two samples.
    """
    if len(peaks) < 2:
        return []
    usual = float(np.sort(peaks)[min(len(peaks) - 2, int(0.99 * (len(peaks) - 1)))])
    if usual <= 0:
        return []
    outliers = [(int(index), float(peaks[index] / usual)) for index in np.flatnonzero(peaks > times * usual)]
    return sorted(outliers, key=lambda outlier: -outlier[1])
