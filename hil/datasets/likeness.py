"""Samples that are nearly another set's: the same picture saved again, compressed, or shifted by rounding.

Each sample's inputs are made a vector of at most 256 numbers that keeps distances: as they are where they are few, else
by a count sketch (Charikar, Chen and Farach-Colton 2002), whose squared distances are right within about 9 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from hil.datasets.dataset import Dataset

    Array = npt.NDArray[Any]

WIDTH = 256
NEAR = 0.1
"""Distance, relative to a sample's own signal about its mean, up to which two samples are one: 20 dB. Photographs
saved as JPEG at quality 75, or as WebP, are 0.05 to 0.095 from what they were; different digits are 0.18 apart."""

FEW = 64
"""Elements below which closeness says nothing: among thousands of drawn points some are neighbours."""

CHUNK = 64
MOST = 20_000
"""Calibration samples kept at most: 20 MiB."""


@dataclass(frozen=True)
class Near:
    """``pairs``: validation sample, calibration sample, relative distance; ``checked`` samples ``against`` others."""

    pairs: tuple[tuple[int, int, float], ...]
    checked: int
    against: int


def near(
    samples: Dataset, others: Dataset, *, batch: int = CHUNK, counts: tuple[int | None, int | None] = (None, None)
) -> Near:
    """Which of ``samples`` are as good as among ``others``, by their inputs of float and uint8 alone.

    ``counts`` are how many of each are compared, all if ``None``, read ``batch`` at a time.
    Equal samples have distance 0. Nothing is compared (``checked`` is 0) where samples have fewer than 64 elements.
    """
    wanted, most = counts[0], counts[1] or others.count
    vectors = _vectors(others, min(most, MOST // batch * batch), batch)
    if vectors is None:
        return Near((), 0, 0)
    squares = np.square(vectors).sum(axis=1)
    pairs, start = [], 0
    for chunk, signal in _sketched(samples, wanted, batch):
        apart = np.square(chunk).sum(axis=1)[:, None] + squares[None] - 2 * chunk @ vectors.T
        closest = apart.argmin(axis=1)
        for row, other in enumerate(closest):
            # By subtraction: the difference of large squares above has lost what is small.
            distance = float(np.linalg.norm(chunk[row] - vectors[other]))
            if signal[row] > 0 and distance <= NEAR * signal[row]:
                pairs.append((start + row, int(other), distance / float(signal[row])))
        start += len(chunk)
    return Near(tuple(pairs), start, len(vectors))


def _vectors(data: Dataset, count: int, batch: int) -> Array | None:
    parts = [vectors for vectors, _ in _sketched(data, count, batch)]
    return np.concatenate(parts) if parts else None


def _sketched(data: Dataset, count: int | None, size: int) -> Iterator[tuple[Array, Array]]:
    """Yields vectors (rows, ≤ 256 an input) and the norm of each sample about its mean."""
    sketches: dict[str, Sketch] = {}
    for batch in data.batches(size, count):
        rows = len(next(iter(batch.inputs.values())))
        wanted = {name: array for name, array in sorted(batch.inputs.items()) if is_signal(array)}
        if sum(array[0].size for array in wanted.values()) < FEW:
            return
        flat = {name: array.reshape(rows, -1).astype(np.float64) for name, array in wanted.items()}
        centred = [np.square(one - one.mean(axis=1, keepdims=True)).sum(axis=1) for one in flat.values()]
        yield (
            np.concatenate([sketches.setdefault(n, Sketch(a.shape[1])).of(a) for n, a in flat.items()], axis=1),
            np.sqrt(np.sum(centred, axis=0)),
        )


def is_signal(array: Array) -> bool:
    """Whether distances between such arrays mean anything: float and uint8, not numbers of classes or tokens."""
    return array.dtype.kind == "f" or array.dtype == np.uint8


class Sketch:
    """Signs and places by a seed, so that two data sets are sketched alike."""

    def __init__(self, size: int) -> None:
        random = np.random.default_rng(size)
        self._whole = size <= WIDTH
        places = random.integers(0, WIDTH, size)
        self._order = np.argsort(places, kind="stable")
        self._starts = np.unique(places[self._order], return_index=True)[1]
        self._signs = random.choice([-1.0, 1.0], size)[self._order]

    def of(self, values: Array) -> Array:
        """Maps (rows, size) to (rows, at most 256)."""
        if self._whole:
            return values
        return np.asarray(np.add.reduceat(values[:, self._order] * self._signs, self._starts, axis=1))
