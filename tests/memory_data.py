"""A data set in memory, for tests that need samples but no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.datasets.dataset import Batch, sample_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


class MemoryData:
    """Samples from arrays; a ``hil.datasets.dataset.Dataset``."""

    name = "memory"

    def __init__(self, *, synthetic: bool = False, **inputs: np.ndarray) -> None:
        self.inputs = inputs
        self.synthetic = synthetic
        self.has_labels = False
        self.stride: int | None = None
        self.provenance: dict[str, str] = {}
        self.count = len(next(iter(inputs.values())))
        self.digest = "".join(self.sample_digests())[:64]
        self.passes = 0

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield batches of ``size`` samples in order, of at most ``limit`` samples in total."""
        self.passes += 1
        total = self.count if limit is None else min(limit, self.count)
        for start in range(0, total, size):
            end = min(start + size, total)
            yield Batch(start, {name: array[start:end] for name, array in self.inputs.items()}, {})

    def sample_digests(self) -> Iterator[str]:
        """Yield the SHA-256 of each sample."""
        for row in range(self.count):
            yield sample_digest(self.inputs, row).hex()
