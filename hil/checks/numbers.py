"""Metrics of one output against its reference, computed some batches at a time, so that not all are in memory."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.checks.slices import Slices
from hil.dtypes import is_finite, is_float
from hil.stats.masks_and_scores import MASK, largest_unmasked, same_masks

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LISTED = 5
"""How many of the worst elements are recorded."""

_MATRIX = 2  # rank of the outputs that have a top1_agreement


@dataclass(frozen=True)
class Element:
    """One element that differs: its error, its sample, its index within the sample, and both values."""

    error: float
    sample: int
    index: tuple[int, ...]
    obtained: float
    expected: float


@dataclass
class Numbers:
    """Sums and extremes over all elements so far, in float64.

    ``error``, ``signal`` and ``candidate`` are the sums of squares of the difference, the reference and the engine;
    ``dot`` is the sum of reference times engine. ``largest`` is the reference's largest magnitude. Of ``ranked`` rows
    of class scores, ``agreed`` have the same best class. ``unmasked`` is the reference's largest magnitude without
    masks. ``bare`` are the slices without the elements that are a mask on both sides, ``None`` if there are none.
    """

    elements: int = 0
    max_abs: float = 0.0
    largest: float = 0.0
    error: float = 0.0
    signal: float = 0.0
    candidate: float = 0.0
    dot: float = 0.0
    worst_cosine: float = math.inf
    worst_sample: int | None = None
    agreed: int = 0
    ranked: int = 0
    unmasked: float = 0.0
    worst: list[Element] = field(default_factory=list)
    slices: Slices = field(default_factory=Slices)
    bare: Slices | None = None

    def add(self, reference: Array, candidate: Array, numbers: IntArray) -> None:
        """Add one or more batches of one shape; both arrays have the same shape [batches, ...] and dtype.

        ``numbers`` has, for each batch, the numbers of the samples along its first axis, or one number if the whole
        batch is one sample.
        """
        rows, shape = len(numbers) // len(reference), reference.shape[1:]
        batched = bool(shape) and shape[0] == rows
        ours, theirs = reference.reshape(len(numbers), -1), candidate.reshape(len(numbers), -1)
        x, y = ours.astype(np.float64), theirs.astype(np.float64)
        keep = np.isfinite(x)
        self.elements += int(keep.sum())
        complete = bool(keep.all())
        if not complete:  # non-finite values are equal on both sides here
            x[~keep] = y[~keep] = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.where(ours != theirs, _error(x, y, ours.dtype), 0.0)
            self._accumulate(x, y, error, numbers)
            self._list(x, y, error, numbers, shape[batched:])
            masked = same_masks(x, y, self.unmasked)
            if self.bare is None and masked is not None:
                self.bare = deepcopy(self.slices)
            kept = None if complete else keep.reshape(reference.shape)
            full = x.reshape(reference.shape), y.reshape(reference.shape)
            self.slices.add(*full, kept, numbers, batched=batched)
            if self.bare is not None:
                left = keep if masked is None else keep & ~masked
                rest, other = (np.where(left, side, 0.0).reshape(reference.shape) for side in (x, y))
                self.bare.add(rest, other, left.reshape(reference.shape), numbers, batched=batched)
            self.unmasked = self.largest if self.largest < MASK else largest_unmasked(x, self.unmasked)
        if len(shape) == _MATRIX and ours.shape[1] > 1:
            self.agreed += int((x.argmax(axis=1) == y.argmax(axis=1)).sum())
            self.ranked += len(numbers)

    def _accumulate(self, x: FloatArray, y: FloatArray, error: FloatArray, numbers: IntArray) -> None:
        self.max_abs = float(np.fmax(self.max_abs, error.max()))
        self.largest = max(self.largest, float(np.abs(x).max()))
        signal, candidate, dot = (np.einsum("ij,ij->i", a, b) for a, b in ((x, x), (y, y), (x, y)))
        self.error += float(np.einsum("ij,ij->", error, error))
        self.signal += float(signal.sum())
        self.candidate += float(candidate.sum())
        self.dot += float(dot.sum())
        norm = np.sqrt(signal) * np.sqrt(candidate)
        cosine = np.divide(dot, norm, out=np.full(dot.shape, math.inf), where=norm > 0)
        if cosine.min() < self.worst_cosine:
            self.worst_cosine, self.worst_sample = float(cosine.min()), int(numbers[cosine.argmin()])

    def _list(self, x: FloatArray, y: FloatArray, error: FloatArray, numbers: IntArray, shape: tuple[int, ...]) -> None:
        """Keep the five largest errors so far; of equal errors, the earlier ones. ``shape`` is that of one sample."""
        flat = error.ravel()
        if len(self.worst) == LISTED and flat.max() <= self.worst[-1].error:
            return
        count = min(LISTED, flat.size)
        least = np.partition(flat, flat.size - count)[flat.size - count]
        for place in (*np.flatnonzero(flat > least), *np.flatnonzero(flat == least)[:count]):
            if flat[place] > 0:
                row, column = divmod(int(place), x.shape[1])
                index = tuple(int(i) for i in np.unravel_index(column, shape)) if shape else ()
                values = float(y[row, column]), float(x[row, column])
                self.worst.append(Element(float(flat[place]), int(numbers[row]), index, *values))
        self.worst = sorted(self.worst, key=lambda element: (-element.error, element.sample, element.index))[:LISTED]

    def metrics(self) -> dict[str, float | None]:
        """Return the metrics by name, ``None`` where undefined (for example the cosine of a zero vector)."""
        norm = math.sqrt(self.signal) * math.sqrt(self.candidate)
        relative = self.max_abs / self.largest if self.largest > 0 else (math.inf if self.max_abs > 0 else 0.0)
        return {
            "max_abs": self.max_abs,
            "max_rel": relative,
            "rmse": math.sqrt(self.error / self.elements) if self.elements else None,
            "cosine": self.dot / norm if norm > 0 else None,
            "sqnr_db": _decibel(self.signal, self.error),
            "top1_agreement": self.agreed / self.ranked if self.ranked else None,
        }

    @property
    def identical(self) -> bool:
        """Whether elements were compared and none differed; undefined metrics then count as within their bounds."""
        return self.elements > 0 and self.max_abs == 0


def _decibel(signal: float, error: float) -> float | None:
    if not (error > 0 and signal > 0):
        return None
    ratio = signal / error
    return 10 * math.log10(ratio) if math.isfinite(ratio) and ratio > 0 else math.nan


def _error(x: FloatArray, y: FloatArray, dtype: np.dtype[Any]) -> FloatArray:
    difference = np.abs(x - y)
    # Integers beyond 2**53 can differ and still be equal as float64.
    return difference if is_float(dtype) else np.maximum(difference, 1.0)


def not_finite(reference: Array, candidate: Array, numbers: IntArray) -> str:
    """Return which elements of batches [batches, ...] are NaN or infinite on one side only, as text for a message.

    Empty if there are none. ``numbers`` are the numbers of the batches' samples.
    """
    if not is_float(reference.dtype):
        return ""
    finite = is_finite(reference) & is_finite(candidate)
    if finite.all():
        return ""
    ours, theirs = reference.reshape(len(numbers), -1), candidate.reshape(len(numbers), -1)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    bad = np.argwhere(~finite.reshape(ours.shape) & ~same)
    if not bad.size:
        return ""
    row, column = (int(i) for i in bad[0])
    return (
        f"{len(bad)} elements differ in NaN or infinity, first at sample {int(numbers[row])}, element {column}: "
        f"obtained {theirs[row, column]}, expected {ours[row, column]}"
    )
