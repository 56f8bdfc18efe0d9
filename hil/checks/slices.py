"""Statistics of an output's slices along each of its axes, computed some batches at a time in float64.

A slice is all elements with one index along one axis, over all samples: a channel of a detector's output, a class of a
classifier's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MOST_SLICES = 8192
"""Axes with more slices are not examined, which bounds memory."""

_LIVELY = 0.1  # slices below this share of the largest standard deviation do not make a sample odd
_CLEAR = 0.5  # an error beyond this share of the slice's standard deviation so far is a clear difference

_ROUNDED = 16 * np.finfo(np.float64).eps  # a variance below this share of the mean square is the sums' rounding


class AxisSums:
    """Sums over the elements of each slice along one axis; values are relative to ``shift``.

    The shift is the slice's mean in the first batch, so that the sums of squares stay exact.

    Attributes:
        n: elements of each slice.
        shift: what the values of each slice are relative to.
        x, y: sums of the reference and of the engine.
        xx, yy, ee: sums of their squares and of the squared errors.
        low, high: extremes of the reference.
        first: the first sample in which a slice clearly differs; -1 if there is none.
        worst, worst_error: the sample with the largest mean squared error in a slice, and that error.
        odd, odd_error: the sample that differs most in all slices together, and its mean squared error over the
            variance of each slice so far.
    """

    def __init__(self, size: int) -> None:
        """Create empty sums for ``size`` slices."""
        self.n = np.zeros(size)
        self.shift: FloatArray | None = None
        self.x, self.y, self.xx, self.yy, self.ee = np.zeros((5, size))
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        self.first = np.full(size, -1, np.int64)
        self.worst = np.full(size, -1, np.int64)
        self.worst_error = np.zeros(size)
        self.odd, self.odd_error = -1, 0.0

    def add(self, x: FloatArray, y: FloatArray, error: FloatArray, keep: BoolArray | None, numbers: IntArray) -> None:
        """Add arrays [batches, samples, before, slices, after]; ``numbers`` are the numbers of all their samples.

        ``error`` is their difference. ``keep`` is ``False`` for elements that do not count, where the error must be 0;
        ``None``: all count.
        """
        batches, samples, before, size, after = x.shape
        if keep is None:
            counts = np.full((batches, samples, size), float(before * after))
        else:
            counts = keep.sum(axis=(2, 4), dtype=np.float64)
        if self.shift is None:
            first = x[0].sum(axis=(0, 1, 3), where=True if keep is None else keep[0])
            self.shift = first / np.maximum(counts[0].sum(axis=0), 1)
        x, y = x - self.shift[:, None], y - self.shift[:, None]
        if keep is not None:
            x, y = np.where(keep, x, 0.0), np.where(keep, y, 0.0)
        axes = (0, 1, 2, 4)
        n = _running(self.n, counts.sum(axis=1))
        total = _running(self.x, x.sum(axis=(1, 2, 4)))
        squares = _running(self.xx, np.einsum("bnpkq,bnpkq->bk", x, x))
        self.n, self.x, self.xx = n[-1], total[-1], squares[-1]
        self.y = self.y + y.sum(axis=axes)
        self.yy = self.yy + np.einsum("bnpkq,bnpkq->k", y, y)
        some: dict[str, Any] = {} if keep is None else {"where": keep}
        self.low = np.minimum(self.low, x.min(axis=axes, initial=np.inf, **some) + self.shift)
        self.high = np.maximum(self.high, x.max(axis=axes, initial=-np.inf, **some) + self.shift)
        errors = np.einsum("bnpkq,bnpkq->bnk", error, error)
        self.ee = self.ee + errors.sum(axis=(0, 1))
        self._samples(errors / np.maximum(counts, 1), _variance(n, total, squares), numbers)

    def _samples(self, errors: FloatArray, variance: FloatArray, numbers: IntArray) -> None:
        """Update ``first``, ``worst`` and ``odd`` by the mean squared errors [batches, samples, slices].

        ``variance``, [batches, slices], is over all samples up to the end of each batch. ``numbers`` has the number of
        each sample, shape (batches * samples,).
        """
        flat = errors.reshape(len(numbers), -1)
        at = flat.argmax(axis=0)
        largest = flat[at, np.arange(len(at))]
        worse = largest > self.worst_error
        self.worst = np.where(worse, numbers[at], self.worst)
        self.worst_error = np.where(worse, largest, self.worst_error)
        clear = (errors > _CLEAR**2 * variance[:, None]).reshape(flat.shape)
        unseen = (self.first < 0) & clear.any(axis=0)
        self.first = np.where(unseen, numbers[clear.argmax(axis=0)], self.first)
        lively = variance > _LIVELY**2 * variance.max(axis=1, initial=0.0, keepdims=True)
        shares = np.divide(errors, variance[:, None], out=np.zeros_like(errors), where=lively[:, None])
        together = (shares.sum(axis=2) / np.maximum(lively.sum(axis=1), 1)[:, None]).ravel()
        if together.max() > self.odd_error:
            self.odd, self.odd_error = int(numbers[together.argmax()]), float(together.max())

    def variance(self, *, engine: bool = False) -> FloatArray:
        """Return the variance of each slice in the reference or in the ``engine``; 0 for a slice without elements."""
        total, squares = (self.y, self.yy) if engine else (self.x, self.xx)
        return _variance(self.n, total, squares)


def _running(before: FloatArray, each: FloatArray) -> FloatArray:
    """Return the sums [batches, slices] after each batch, added one after the other to the sums ``before``."""
    return np.cumsum(np.concatenate([before[None], each]), axis=0)[1:]


def _variance(n: FloatArray, total: FloatArray, squares: FloatArray) -> FloatArray:
    n = np.maximum(n, 1)
    mean = squares / n
    value = mean - (total / n) ** 2
    return np.where(value <= _ROUNDED * mean, 0.0, value)


@dataclass
class Slices:
    """The sums (``sums``) of an output along each axis whose size is the same in all batches, except the samples' axis.

    The key -1 stands for the whole output as one slice. ``axis`` is the only axis to examine, counted including the
    samples' axis; ``None``: all of them. ``single`` states whether every batch has an axis of one element besides that
    of the samples.
    """

    axis: int | None = None
    single: bool = True
    sums: dict[int, AxisSums] = field(default_factory=dict)
    _rank: int | None = None

    def add(self, x: FloatArray, y: FloatArray, keep: BoolArray | None, numbers: IntArray, *, batched: bool) -> None:
        """Add the output of one or more batches, whose samples have the ``numbers``.

        ``x`` is the reference, ``y`` the engine, both of the shape [batches, ...]. With ``batched``, the second axis is
        the samples'. ``keep`` is ``False`` for elements that do not count, where both must be 0; ``None``: all count.
        """
        if not x.size:
            return
        shape = x.shape[1:]
        sizes = self._sizes(shape, batched=batched)
        self.single &= 1 in shape[batched:]
        if self._rank is None:
            self.sums = {axis: AxisSums(size) for axis, size in sizes.items()}
            self._rank = len(shape)
        # An axis that changes its size, or whose meaning changes, has no slices.
        same = self._rank == len(shape)
        self.sums = {axis: one for axis, one in self.sums.items() if same and sizes.get(axis) == len(one.n)}
        if not self.sums:
            return
        error = x - y
        for axis, one in self.sums.items():
            around = (len(x), *_around(shape, axis, batched=batched))
            kept = None if keep is None else keep.reshape(around)
            one.add(x.reshape(around), y.reshape(around), error.reshape(around), kept, numbers)

    def _sizes(self, shape: tuple[int, ...], *, batched: bool) -> dict[int, int]:
        """Return the sizes of the axes that may have slices; the key -1 stands for the whole output as one slice."""
        wanted = None if self.axis is None else self.axis % max(len(shape), 1)
        sizes = {axis: size for axis, size in enumerate(shape) if axis >= batched and 1 < size <= MOST_SLICES}
        return {-1: 1} | {axis: size for axis, size in sizes.items() if wanted in {None, axis}}


def _around(shape: tuple[int, ...], axis: int, *, batched: bool) -> tuple[int, int, int, int]:
    """Return the shape [samples, before, slices, after] of an array whose slices lie along ``axis``."""
    samples, inner = (shape[0], shape[1:]) if batched else (1, shape)
    if axis < 0:
        return samples, math.prod(inner), 1, 1
    at = axis - batched
    return samples, math.prod(inner[:at]), inner[at], math.prod(inner[at + 1 :])
