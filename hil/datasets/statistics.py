"""What a data set looks like, in one pass and a fixed amount of memory: spread, constants, repeats, classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.distinct import Distinct

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.datasets.dataset import Batch, Dataset

    Array = npt.NDArray[Any]

ELEMENTS = 2**20
"""Elements of each input that its spread is drawn from: evenly many of each sample, at places fixed by a seed."""

TRIMMED = 0.01
CHUNK = 64
_ONE_CLASS = 2  # dimensions of labels (n,) or (n, 1)


@dataclass(frozen=True)
class Spread:
    """Of one input: mean, deviation, least and greatest, without the outermost 1 % either side; ``peaks`` by sample."""

    mean: float
    deviation: float
    low: float
    high: float
    peaks: Array


@dataclass(frozen=True)
class Looks:
    """``constant`` samples have one value everywhere, ``classes`` counts integer labels (empty without any).

    ``distinct`` samples are neither equal nor the same up to noise (``hil.datasets.distinct``).
    """

    samples: int
    distinct: int
    constant: int
    inputs: dict[str, Spread]
    classes: dict[int, int]


def look(data: Dataset, samples: int | None = None, batch: int = CHUNK) -> Looks:
    """Looks at the first ``samples`` of ``data`` (all if ``None``), ``batch`` at a time."""
    wanted = data.count if samples is None else min(samples, data.count)
    gathered: dict[str, _Input] = {}
    distinct = Distinct(wanted)
    classes: Counter[int] = Counter()
    constant = 0
    for one in data.batches(batch, samples):
        rows = len(next(iter(one.inputs.values())))
        distinct.take(one.inputs)
        flat = {name: array.reshape(rows, -1) for name, array in one.inputs.items() if array.dtype.kind in "fiub"}
        constant += int(_constant(flat).sum())
        for name, array in flat.items():
            gathered.setdefault(name, _Input(array.shape[1], wanted)).take(array)
        classes.update(_classes(one))
    inputs = {name: one.spread() for name, one in gathered.items()}
    return Looks(wanted, distinct.count, constant, inputs, dict(sorted(classes.items())))


def _constant(flat: dict[str, Array]) -> Array:
    """Which samples hold one value everywhere, in every input that carries a signal."""
    signals = [one for one in flat.values() if one.shape[1] > 1 and (one.dtype.kind == "f" or one.dtype == np.uint8)]
    if not signals:
        return np.zeros(0, bool)
    return np.asarray(np.logical_and.reduce([(one == one[:, :1]).all(axis=1) for one in signals]))


def _classes(batch: Batch) -> list[int]:
    """The classes of integer labels, one a sample; empty where labels are none or are something else."""
    if len(batch.labels) != 1:
        return []
    truth = next(iter(batch.labels.values()))
    one_each = truth.dtype.kind in "iu" and truth.ndim <= _ONE_CLASS and truth.size == len(truth)
    return [int(value) for value in truth.ravel()] if one_each else []


class _Input:
    """Elements of one input, picked at the same places of every sample."""

    def __init__(self, size: int, samples: int) -> None:
        most = max(1, ELEMENTS // max(1, samples))
        every = np.random.default_rng(0).permutation(size)[:most] if size > most else np.arange(size)
        self._places = np.sort(every)
        self._picked: list[Array] = []
        self._peaks: list[Array] = []

    def take(self, array: Array) -> None:
        self._picked.append(array[:, self._places].astype(np.float32))
        self._peaks.append(np.abs(array.astype(np.float64)).max(axis=1))

    def spread(self) -> Spread:
        values = np.concatenate([one.ravel() for one in self._picked]).astype(np.float64)
        low, high = np.quantile(values, [TRIMMED, 1 - TRIMMED])
        inner = np.clip(values, low, high)
        return Spread(float(inner.mean()), float(inner.std()), float(low), float(high), np.concatenate(self._peaks))


def far(peaks: Array, times: float) -> list[tuple[int, float]]:
    """Samples that reach more than ``times`` further than 99 of 100 do (all but one of fewer): index and how far."""
    if len(peaks) < 2:
        return []
    usual = float(np.sort(peaks)[min(len(peaks) - 2, int(0.99 * (len(peaks) - 1)))])
    if usual <= 0:
        return []
    found = [(int(index), float(peaks[index] / usual)) for index in np.flatnonzero(peaks > times * usual)]
    return sorted(found, key=lambda one: -one[1])
