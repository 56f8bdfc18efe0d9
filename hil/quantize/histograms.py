"""Collect histograms of the magnitudes of tensors, with a fixed number of bins, and choose INT8 ranges from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnxruntime.quantization.calibrate import CalibrationDataCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Counts = npt.NDArray[np.int64]

BINS = 2048
"""Bins of a histogram, from 0 to ``Histogram.top``; TensorRT's entropy calibrator has as many."""

LEVELS = 128
"""Magnitudes that symmetric INT8 distinguishes, 0 included."""

STEP = 8
"""Bins between two ranges that ``entropy_bins`` compares: 0.4 % of the widest range."""


@dataclass
class Histogram:
    """Counts of the magnitudes of one tensor's elements: bin ``n`` is from ``n`` to ``n + 1`` times ``top / BINS``.

    ``low`` and ``high`` are the smallest and the largest element. ``first`` is the largest magnitude in the first
    arrays that were added and not all zero; ``zeros`` is the number of elements that were added before.
    """

    dtype: np.dtype[Any]
    top: float = 0.0
    first: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    zeros: int = 0
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, arrays: list[Array]) -> None:
        """Add the finite elements of some arrays; bins merge in pairs until all magnitudes fit below ``top``."""
        finite = [one for array in arrays if (one := array[np.isfinite(array)].astype(np.float32, copy=False)).size]
        if not finite:
            return
        low, high = min(float(one.min()) for one in finite), max(float(one.max()) for one in finite)
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(-low, high)
        if not self.top:
            if not largest:
                self.zeros += sum(one.size for one in finite)
                return
            self.first = self.top = largest
            self.counts[0] += self.zeros
        while largest > self.top:
            self.top *= 2
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros_like(merged)])
        for one in finite:
            places = (np.abs(one) / np.float32(self.top) * BINS).astype(np.int64)
            self.counts += np.bincount(np.minimum(places, BINS - 1, out=places), minlength=BINS)

    def range(self, bins: Callable[[Histogram], int]) -> tuple[Array, Array, Counts, Array]:
        """Return the smallest and the largest value of the range that has ``bins(self)`` bins, then the histogram.

        The histogram consists of the counts and the edges of the bins.
        """
        edges = np.linspace(0, self.top, BINS + 1, dtype=np.float32)
        end = float(edges[bins(self)]) if self.top else 0.0
        low, high = max(self.low, -end), min(self.high, end)
        return np.asarray(low, self.dtype), np.asarray(high, self.dtype), self.counts, edges


def percentile_bins(histogram: Histogram, percentile: float) -> int:
    """Return the smallest number of bins that have at least ``percentile`` percent of the elements."""
    sums = np.cumsum(histogram.counts)
    return min(BINS, int(np.searchsorted(sums, percentile / 100 * sums[-1])) + 1)


def entropy_bins(histogram: Histogram) -> int:
    """Return how many bins the range with the smallest loss of information has.

    The range has at least ``LEVELS`` bins if the values do, and contains the values that were added first. The loss is
    the Kullback-Leibler divergence of the values in INT8 from the values clipped to the range ("8-bit inference with
    TensorRT", S. Migacz, 2017).
    """
    counted = histogram.counts.astype(np.float64)
    counted[0] = counted[1]
    first = max(LEVELS, math.ceil(BINS * histogram.first / histogram.top))
    occupied = np.flatnonzero(histogram.counts) + 1
    # Clipped values would get no code in an empty bin, so each range ends with a bin that is not empty.
    ends = list({int(end) // STEP: int(end) for end in occupied if end >= first}.values()) or [int(occupied[-1])]
    beyond = counted.sum() - np.cumsum(counted)
    losses = [_divergence(counted[:end], beyond[end - 1]) for end in ends]
    return ends[int(np.argmin(losses))]


def _divergence(inside: npt.NDArray[np.float64], clipped: float) -> float:
    """Return the divergence for a range with the bins ``inside``; ``clipped`` elements are beyond it."""
    groups = min(LEVELS, len(inside))
    starts = np.arange(groups) * len(inside) // groups
    occupied = inside > 0
    if not occupied.any():
        return 0.0
    sums, filled = np.add.reduceat(inside, starts), np.add.reduceat(occupied.astype(np.int64), starts)
    means = np.divide(sums, filled, out=np.zeros(groups), where=filled > 0)
    coarse = np.repeat(means, np.diff(starts, append=len(inside)))[occupied]
    fine = inside[occupied]
    fine[-1] += clipped
    fine, coarse = fine / fine.sum(), coarse / coarse.sum()
    return float((fine * np.log(fine / coarse)).sum())


class Collector(CalibrationDataCollector):  # type: ignore[misc]  # onnxruntime ships no types
    """Makes a histogram of each tensor's values, for onnxruntime's calibrators."""

    def __init__(self, method: str, percentile: float) -> None:
        """``method`` is ``"entropy"`` or ``"percentile"``; only the latter uses ``percentile``."""
        self._bins: Callable[[Histogram], int] = (
            entropy_bins if method == "entropy" else lambda histogram: percentile_bins(histogram, percentile)
        )
        self._histograms: dict[str, Histogram] = {}

    def collect(self, name_to_arr: dict[str, list[Array]]) -> None:
        """Add the arrays of each tensor, which may differ in shape."""
        for name, arrays in name_to_arr.items():
            self._histograms.setdefault(name, Histogram(arrays[0].dtype)).add(arrays)

    def compute_collection_result(self) -> dict[str, tuple[Array, Array, Counts, Array]]:
        """Return the range of each tensor, with its histogram."""
        return {name: histogram.range(self._bins) for name, histogram in self._histograms.items()}
