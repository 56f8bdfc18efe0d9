"""Count the distinct samples of a data set in one pass with bounded memory; samples equal up to noise count once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.dataset import sample_digest
from hil.datasets.likeness import NEAR, Sketch, is_signal

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.datasets.dataset import Arrays, Dataset

    Array = npt.NDArray[Any]

MOST = 4096
"""Number of stored samples, the most recent ones, with which a new sample is compared: 8 MiB per input."""

ROUNDING = 1e-5
"""Largest distance, relative to a sample's norm, of two copies that differ by a few float32 rounding errors."""

CHUNK = 64


def distinct(data: Dataset, samples: int | None = None, batch: int = CHUNK) -> int:
    """Return how many of the first ``samples`` of ``data`` (all if ``None``) are distinct, read ``batch`` at a time."""
    counted = Distinct(data.count if samples is None else min(samples, data.count))
    for part in data.batches(batch, samples):
        counted.add(part.inputs)
    return counted.count


class Distinct:
    """Counts the samples that differ from each earlier sample. Samples of different shapes differ."""

    def __init__(self, samples: int) -> None:
        """Start at 0. ``samples`` is the number that will be added."""
        self._samples = samples
        self._shapes: dict[tuple[tuple[str, tuple[int, ...]], ...], _OfOneShape] = {}

    @property
    def count(self) -> int:
        """The number of distinct samples so far."""
        return sum(one.count for one in self._shapes.values())

    def add(self, inputs: Arrays) -> None:
        """Add the samples along the first dimension of each array, and count the distinct ones."""
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(inputs.items()))
        self._shapes.setdefault(shapes, _OfOneShape(self._samples)).add(inputs)


class _OfOneShape:
    """Counts the distinct samples of one shape in ``count``.

    Two samples are the same if all inputs are equal or, for float and uint8, at most ``_reach`` apart. Only the 4096
    latest distinct samples are compared by distance.
    """

    def __init__(self, samples: int) -> None:
        self.count = 0
        self._samples = max(samples, 2)
        self._digests: set[bytes] = set()
        self._others: dict[bytes, int] = {}
        self._sketches: dict[str, Sketch] = {}
        self._stored: dict[str, Array] = {}
        self._squares: dict[str, Array] = {}
        self._kinds = np.full(MOST, -1)  # index of the inputs that must be equal; -1 for an empty place

    def add(self, inputs: Arrays) -> None:
        rows = len(next(iter(inputs.values())))
        flat = {name: array.reshape(rows, -1).astype(np.float64) for name, array in inputs.items() if is_signal(array)}
        rest = {name: array for name, array in inputs.items() if name not in flat}
        for name in flat.keys() - self._sketches.keys():  # once, since for a large image this is slow
            self._sketches[name] = Sketch(flat[name].shape[1])
        vectors = {name: self._sketches[name].of(one) for name, one in flat.items()}
        reaches = {name: self._reach(one) for name, one in flat.items()}
        close = self._close(vectors, reaches)
        new: list[int] = []
        for row in range(rows):
            digest = sample_digest(inputs, row)
            if digest in self._digests:
                continue
            self._digests.add(digest)
            kind = self._others.setdefault(sample_digest(rest, row), len(self._others))
            own = {name: vector[row] for name, vector in vectors.items()}
            places = np.asarray([*np.flatnonzero(close[row]), *new], np.int64) if own else np.empty(0, np.int64)
            if not own or not self._is_near(places, own, {name: one[row] for name, one in reaches.items()}, kind):
                new.append(self._store(own, kind))

    def _close(self, vectors: dict[str, Array], reaches: dict[str, Array]) -> npt.NDArray[np.bool_]:
        """Return which stored samples may be close enough to be the same, shape (rows, stored).

        Some may be slightly too far, because of rounding.
        """
        filled = min(self.count, MOST)
        close = np.ones((len(next(iter(vectors.values()), ())), filled), bool)
        for name, vector in vectors.items():
            if not filled:
                break
            stored, squares = self._stored[name][:filled], self._squares[name][:filled]
            sums = np.square(vector).sum(axis=1)[:, None] + squares
            close &= sums - 2 * vector @ stored.T <= np.square(reaches[name])[:, None] + 1e-9 * sums
        return close

    def _reach(self, values: Array) -> Array:
        """Return for each row of ``values`` (rows, size) the largest distance at which an input counts as the same."""
        size = values.shape[1]
        # Of n samples drawn uniformly from size / 2 dimensions, about one pair is closer than this by chance. Half the
        # number of elements, because data have fewer dimensions than elements.
        share = min(NEAR, (2 / self._samples**2) ** (2 / size))
        signal = np.sqrt(np.square(values - values.mean(axis=1, keepdims=True)).sum(axis=1))
        rounding = min(share, ROUNDING) * np.sqrt(np.square(values).sum(axis=1))
        return np.asarray(np.maximum(share * signal, rounding))

    def _is_near(self, places: Array, own: dict[str, Array], reach: dict[str, float], kind: int) -> bool:
        near = places[self._kinds[places] == kind]
        for name, vector in own.items():
            apart = np.square(self._stored[name][near] - vector).sum(axis=1) if near.size else np.empty(0)
            near = near[apart <= reach[name] ** 2]
        return bool(near.size)

    def _store(self, own: dict[str, Array], kind: int) -> int:
        """Store a sample, replacing the oldest if there is no free place, and return its place."""
        place = self.count % MOST
        for name, vector in own.items():
            if name not in self._stored:
                self._stored[name], self._squares[name] = np.zeros((MOST, vector.size)), np.zeros(MOST)
            self._stored[name][place] = vector
            self._squares[name][place] = np.square(vector).sum()
        self._kinds[place] = kind
        self.count += 1
        return place
