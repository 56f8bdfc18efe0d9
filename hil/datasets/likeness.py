"""Find near-duplicates between two data sets, such as a picture that was compressed again, or rounding differences.

Large inputs are reduced to 256 numbers by a count sketch (Charikar, Chen and Farach-Colton 2002), which keeps squared
distances within about 9 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.dtypes import is_float

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from hil.datasets.dataset import Dataset

    Array = npt.NDArray[Any]

WIDTH = 256
NEAR = 0.1
"""Distance, relative to a sample's signal about its mean, up to which two samples are near-duplicates (20 dB).
Photographs saved as JPEG at quality 75 or as WebP are at 0.05 to 0.095 from the original; different digits are 0.18
apart."""

FEW = 64
"""Fewest elements of a sample: with fewer, some of thousands of random points are near each other by chance."""

CHUNK = 64
MOST = 20_000
"""Maximum number of calibration samples in memory: 20 MiB per input."""


@dataclass(frozen=True)
class Near:
    """The near-duplicates as ``pairs`` of (index in samples, index in others, relative distance).

    ``checked`` is the number of samples, and ``against`` the number of others with which each was compared.
    """

    pairs: tuple[tuple[int, int, float], ...]
    checked: int
    against: int


def near(
    samples: Dataset, others: Dataset, *, batch: int = CHUNK, counts: tuple[int | None, int | None] = (None, None)
) -> Near:
    """Return the near-duplicates of ``samples`` among ``others``: for each sample, at most the closest other.

    Only float and uint8 inputs are compared; ``checked`` is 0 if a sample has fewer than 64 elements in them. Samples
    are near if their distance is, over all inputs and in each varying input of 64 elements or more: a recurrent state
    that is the same in every silence does not make other noise a duplicate.

    Args:
        samples: the samples for which near-duplicates are searched.
        others: the samples among which they are searched.
        batch: how many samples are read at a time.
        counts: the most ``samples`` and ``others`` to compare; ``None`` for all, but at most 20,000 others.
    """
    wanted, most = counts[0], counts[1] or others.count
    vectors = _vectors(others, min(most, MOST // batch * batch), batch)
    if vectors is None:
        return Near((), 0, 0)
    squares = np.square(vectors).sum(axis=1)
    pairs, start = [], 0
    for chunk, signals, large in _sketched(samples, wanted, batch):
        apart = np.square(chunk).sum(axis=1)[:, None] + squares[None] - 2 * chunk @ vectors.T
        for row, signal in enumerate(signals):
            total, wide = float(np.linalg.norm(signal)), large & (signal > 0)
            candidates = np.union1d(apart[row].argmin(), np.flatnonzero(apart[row] <= (2 * NEAR * total) ** 2))
            # Subtract the vectors: the difference of large squares above is too inaccurate for small distances.
            steps = (chunk[row] - vectors[candidates]).reshape(len(candidates), -1, WIDTH)
            by_input = np.linalg.norm(steps, axis=2)
            distances = np.linalg.norm(by_input, axis=1)
            close = (distances <= NEAR * total) & (by_input[:, wide] <= NEAR * signal[wide]).all(axis=1)
            if total > 0 and close.any():
                best = int(np.where(close, distances, np.inf).argmin())
                pairs.append((start + row, int(candidates[best]), float(distances[best]) / total))
        start += len(chunk)
    return Near(tuple(pairs), start, len(vectors))


def _vectors(data: Dataset, count: int, batch: int) -> Array | None:
    parts = [vectors for vectors, *_ in _sketched(data, count, batch)]
    return np.concatenate(parts) if parts else None


def _sketched(data: Dataset, count: int | None, size: int) -> Iterator[tuple[Array, Array, Array]]:
    """Yield for each batch sketches (rows, inputs * 256), norms (rows, inputs), and which inputs are large (inputs,).

    A norm is that of the input's difference from its mean. Large inputs have at least ``FEW`` elements.
    """
    sketches: dict[tuple[str, int], Sketch] = {}
    for batch in data.batches(size, count):
        rows = len(next(iter(batch.inputs.values())))
        wanted = {name: array for name, array in sorted(batch.inputs.items()) if is_signal(array)}
        if sum(array[0].size for array in wanted.values()) < FEW:
            return
        flat = {name: array.reshape(rows, -1).astype(np.float64) for name, array in wanted.items()}
        centred = [np.square(one - one.mean(axis=1, keepdims=True)).sum(axis=1) for one in flat.values()]
        yield (
            np.concatenate([_padded(_sketch(sketches, n, a.shape[1]).of(a)) for n, a in flat.items()], axis=1),
            np.sqrt(np.stack(centred, axis=1)),
            np.array([array.shape[1] >= FEW for array in flat.values()]),
        )


def _sketch(sketches: dict[tuple[str, int], Sketch], name: str, size: int) -> Sketch:
    if (name, size) not in sketches:
        sketches[name, size] = Sketch(size)
    return sketches[name, size]


def _padded(vectors: Array) -> Array:
    """Return ``vectors`` with zeros added up to 256 elements, since samples may differ in size."""
    return np.pad(vectors, ((0, 0), (0, WIDTH - vectors.shape[1])))


def is_signal(array: Array) -> bool:
    """Return whether the distance of two such arrays is meaningful: true for float and uint8, false for others.

    Arrays without elements have no distance.
    """
    return bool(array.size) and (is_float(array.dtype) or array.dtype == np.uint8)


class Sketch:
    """A count sketch whose signs and places depend only on ``size``."""

    def __init__(self, size: int) -> None:
        random = np.random.default_rng(size)
        self._whole = size <= WIDTH
        places = random.integers(0, WIDTH, size)
        self._order = np.argsort(places, kind="stable")
        self._starts = np.unique(places[self._order], return_index=True)[1]
        self._signs = random.choice([-1.0, 1.0], size)[self._order]

    def of(self, values: Array) -> Array:
        """Return the sketches of ``values``: from (rows, size) to (rows, at most 256)."""
        if self._whole:
            return values
        return np.asarray(np.add.reduceat(values[:, self._order] * self._signs, self._starts, axis=1))
