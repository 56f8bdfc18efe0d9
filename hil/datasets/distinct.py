"""How many samples of a data set differ: neither equal nor the same up to noise, in one pass and bounded memory."""

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
"""Samples that further ones are compared with at most, the latest: 8 MiB an input."""

ROUNDING = 1e-5
"""Distance, relative to a sample's norm, that float32 and a few operations leave between two copies."""

CHUNK = 64


def distinct(data: Dataset, samples: int | None = None, batch: int = CHUNK) -> int:
    """The number of distinct samples among the first ``samples`` of ``data`` (all if ``None``), read by ``batch``."""
    counted = Distinct(data.count if samples is None else min(samples, data.count))
    for one in data.batches(batch, samples):
        counted.take(one.inputs)
    return counted.count


class Distinct:
    """Counts samples that are far from each that was counted before; ``count`` is how many.

    Two samples are one where each of their inputs is: equal by content, or, of float and uint8, no further apart than
    ``reach`` times its signal about its mean.
    """

    def __init__(self, samples: int) -> None:
        """``samples`` is how many there are in all: the more, the closer do unlike ones lie by chance."""
        self.count = 0
        self._samples = max(samples, 2)
        self._digests: set[bytes] = set()
        self._others: dict[bytes, int] = {}
        self._sketches: dict[str, Sketch] = {}
        self._kept: dict[str, Array] = {}
        self._squares: dict[str, Array] = {}
        self._kinds = np.full(MOST, -1)  # of the inputs that must be equal; -1 where nothing is kept yet

    def take(self, inputs: Arrays) -> None:
        """Samples along the first dimension of each array."""
        rows = len(next(iter(inputs.values())))
        flat = {name: array.reshape(rows, -1).astype(np.float64) for name, array in inputs.items() if is_signal(array)}
        rest = {name: array for name, array in inputs.items() if name not in flat}
        vectors = {name: self._sketches.setdefault(name, Sketch(one.shape[1])).of(one) for name, one in flat.items()}
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
                new.append(self._keep(own, kind))

    def _close(self, vectors: dict[str, Array], reaches: dict[str, Array]) -> npt.NDArray[np.bool_]:
        """Which samples that are kept may be within reach, shape (rows, kept): quick, and wrong by rounding."""
        filled = min(self.count, MOST)
        close = np.ones((len(next(iter(vectors.values()), ())), filled), bool)
        for name, vector in vectors.items():
            if not filled:
                break
            kept, squares = self._kept[name][:filled], self._squares[name][:filled]
            sums = np.square(vector).sum(axis=1)[:, None] + squares
            close &= sums - 2 * vector @ kept.T <= np.square(reaches[name])[:, None] + 1e-9 * sums
        return close

    def _reach(self, values: Array) -> Array:
        """How far, shape (rows,), another sample may be from each of ``values`` (rows, size) to be the same one.

        Of n samples drawn evenly from half as many dimensions as there are elements about one pair is within
        (2 / n^2)^(2 / size) of each other by chance; data have fewer dimensions than elements.
        """
        size = values.shape[1]
        share = min(NEAR, (2 / self._samples**2) ** (2 / size))
        signal = np.sqrt(np.square(values - values.mean(axis=1, keepdims=True)).sum(axis=1))
        rounding = min(share, ROUNDING) * np.sqrt(np.square(values).sum(axis=1))
        return np.asarray(np.maximum(share * signal, rounding))

    def _is_near(self, places: Array, own: dict[str, Array], reach: dict[str, float], kind: int) -> bool:
        found = places[self._kinds[places] == kind]
        for name, vector in own.items():
            apart = np.square(self._kept[name][found] - vector).sum(axis=1) if found.size else np.empty(0)
            found = found[apart <= reach[name] ** 2]
        return bool(found.size)

    def _keep(self, own: dict[str, Array], kind: int) -> int:
        """Remembers a sample, in the place of the oldest where there is no other; returns its place."""
        place = self.count % MOST
        for name, vector in own.items():
            self._kept.setdefault(name, np.zeros((MOST, vector.size)))[place] = vector
            self._squares.setdefault(name, np.zeros(MOST))[place] = np.square(vector).sum()
        self._kinds[place] = kind
        self.count += 1
        return place
