"""Compares values that are not classes: ``embedding``, ``regression`` and ``keypoints``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.agreement.evidence import Changes, Evidence, joined, samples_first
from hil.metrics.agreement.lost import LOST

if TYPE_CHECKING:
    from hil.config.spec import OutputSpec
    from hil.metrics.metric import Array, Arrays, FloatArray

CLEAR = 0.02
"""One sample is clearly farther than another if their cosines differ by more than this; otherwise it is a tie."""

SHARE = 0.05
"""The error above which a value has changed, as a share of the range in which it varies."""

COMPONENTS = 1024
"""Most components of a sample that are compared, drawn at random. The values of 1,000 samples then take 8 MiB."""

FAR = 0.2
"""The error above which a value is useless, as a share of the range in which it varies.

In sound INT8 engines whose answers stay within their limit, at most 5 % of a component's values are this far off.
"""

OFTEN = 0.1
"""A component or point is also lost if its error exceeds ``FAR`` in more than this share of the samples."""

LIVE = 0.1
"""The least range of a component that can be lost, as a share of the widest range of a component.

An INT8 output has one step for all components, so that a component with a small range is coarse without a fault.
"""

_ROWS = 256  # rows of a block of the matrix of similarities
_ROUNDING = 1e-3  # the error of a component that never varies, as a share of its value


class _Kept:
    """Keeps the values of both sides, float32 (samples, at most ``COMPONENTS``), until all of them are known."""

    kind = ""

    def __init__(self, name: str, spec: OutputSpec) -> None:
        """Compare the output ``name`` as ``spec`` declares it."""
        self.outputs = (name,)
        self.spec = spec
        self._ours: list[Array] = []
        self._theirs: list[Array] = []
        self._size: int | None = None

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch; raises ``UserError`` if they do not fit the declared kind."""
        name = self.outputs[0]
        for side, parts in ((reference, self._ours), (candidate, self._theirs)):
            array = samples_first(name, self.kind, side[name], samples).reshape(samples, -1)
            self._size = array.shape[1] if self._size is None else self._size
            if array.shape[1] != self._size:
                raise UserError(
                    f"output {name!r} has another size in a later batch: kind {self.kind!r} needs equal sizes: remove "
                    "the kind, or write 'decode' = a callable"
                )
            parts.append(array[:, _drawn(self._size)].astype(np.float32))

    def _values(self) -> tuple[FloatArray, FloatArray]:
        ours, theirs = (np.concatenate(parts) if parts else np.zeros((0, 1)) for parts in (self._ours, self._theirs))
        return ours.astype(np.float64), theirs.astype(np.float64)


class Embeddings(_Kept):
    """Compares which other sample is nearest by cosine, and whether a sample is still nearest to itself.

    The answer of a sample has changed in two cases. First: the other sample that is nearest in the engine is, by the
    reference's vectors, clearly farther (``CLEAR``) than the one that is nearest in the reference. Second: the engine's
    vector is clearly nearer to the reference's vector of another sample than to that of the same sample. Cosines alone
    would depend on how much all vectors have in common.
    """

    kind = "embedding"

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        ours, theirs = self._values()
        present, other = (np.linalg.norm(side, axis=1) > 0 for side in (ours, theirs))
        x, y = _units(ours), _units(theirs)
        changed = np.zeros(len(x))
        for start in range(0, len(x), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(x)))
            place = np.arange(len(rows))
            near, own, across = x[rows] @ x.T, y[rows] @ y.T, y[rows] @ x.T
            moved = across.max(axis=1) > across[place, rows] + CLEAR
            for similarity in (near, own):
                similarity[place, rows] = -np.inf
            if len(x) > 1:
                moved |= near[place, own.argmax(axis=1)] < near.max(axis=1) - CLEAR
            changed[rows] = moved
        changed = np.where(present | other, np.where(present & other, changed, 1.0), np.nan)
        changes = Changes([changed], len(x))
        alike = [float((x @ one < 1 - CLEAR).mean()) for one in x[:4]]
        silent = int((~present).sum())
        return Evidence(*changes.counted(), len(x), silent, "is a vector of zeros", min(alike, default=1.0))


class Values(_Kept):
    """Compares each component of a regression. The change of a sample is the share of its components that changed.

    A component changed if it differs by more than ``SHARE`` of the range between its 5th and 95th percentiles over all
    samples of the reference. Of an output with more than ``COMPONENTS``, as many drawn at random are compared. A
    component is lost if it changed in more than ``LOST`` of the samples, or differs by more than ``FAR`` in more than
    ``OFTEN`` of them. If any is lost, only the worst one is counted.
    """

    kind = "regression"

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        ours, theirs = self._values()
        if not len(ours):
            return Evidence(np.zeros(0), np.zeros(0, np.int64), 0)
        low, middle, high = np.quantile(ours, (0.05, 0.5, 0.95), axis=0)
        spread = np.where(high > low, high - low, ours.max(axis=0) - ours.min(axis=0))
        varies = spread > _ROUNDING * np.abs(middle)
        most = np.where(varies, SHARE * spread, _ROUNDING * np.abs(middle))
        changed = ~(np.abs(theirs - ours) <= most)  # also where one is NaN
        constant = float((np.abs(ours - middle) > most)[:, varies].mean()) if varies.any() else 0.0
        silent = 0 if varies.any() else len(ours)
        far = ~(np.abs(theirs - ours) <= most * (FAR / SHARE))
        counted, one = _of_samples(changed.astype(np.float64), far, varies & (spread >= LIVE * spread.max()))
        part = "" if one is None else f"component {_drawn(self._size or 0)[one]}"
        samples = np.arange(len(ours))
        return Evidence(counted, samples, len(ours), silent, "does not vary", constant, part=part)


class Points:
    """Compares keypoints: coordinates [samples, points, 2], with a score [samples, points, 3], or heat maps.

    The point of a heat map [samples, points, height, width] is its maximum, whose value is the score. A point is
    visible if its score is ``spec.score`` or more; without scores, if it is finite. A point changed if it moved by more
    than ``SHARE`` of the extent of the reference's visible points in that sample, or if it is visible on one side only.
    The change of a sample is the share of changed points among those that are visible on either side. A point is lost
    if it changed in more than ``LOST`` of the samples, or moved by over ``FAR`` in more than ``OFTEN`` of them. If any
    is lost, only the worst one is counted.
    """

    kind = "keypoints"

    def __init__(self, name: str, spec: OutputSpec) -> None:
        """Compare the output ``name`` as ``spec`` declares it."""
        self.outputs = (name,)
        self._spec = spec
        self._silent = 0
        self._changed: list[FloatArray] = []
        self._far: list[Array] = []
        self._first: FloatArray | None = None
        self._apart: list[FloatArray] = []

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch; raises ``UserError`` if they do not fit the declared kind."""
        name = self.outputs[0]
        (ours, mine), (theirs, other) = (
            self._points(samples_first(name, self.kind, side[name], samples)) for side in (reference, candidate)
        )
        visible = np.where(mine[..., None], ours, np.nan)
        with np.errstate(invalid="ignore"):
            low, high = (np.fmin, np.fmax)
            extent = (high.reduce(visible, axis=1) - low.reduce(visible, axis=1)).max(axis=1)
            least = SHARE * np.maximum(np.nan_to_num(extent), 0.0)[:, None]
            moved = ~(np.linalg.norm(theirs - ours, axis=-1) <= least)
            self._far.append(mine & other & ~(np.linalg.norm(theirs - ours, axis=-1) <= least * (FAR / SHARE)))
        counted = mine | other
        self._changed.append(np.where(counted, moved | (mine != other), np.nan))
        self._silent += int((~mine.any(axis=1)).sum())
        self._first = ours[0] if self._first is None else self._first
        if self._first.shape == ours.shape[1:]:
            self._apart.append((~(np.linalg.norm(ours - self._first, axis=-1) <= least)).mean(axis=1))

    def _points(self, array: Array) -> tuple[FloatArray, Array]:
        """Return coordinates (samples, points, 2), and whether each point has a sufficient score."""
        if array.ndim == 4:  # (samples, points, height, width)
            flat = array.reshape(*array.shape[:2], -1).astype(np.float64)
            places = np.stack(np.unravel_index(flat.argmax(axis=-1), array.shape[2:]), axis=-1)
            return places[..., ::-1].astype(np.float64), flat.max(axis=-1) >= self._spec.score
        if array.ndim != 3 or array.shape[-1] not in {2, 3}:  # (samples, points, x y score)
            raise UserError(
                f"output {self.outputs[0]!r} has shape {list(array.shape)}: kind 'keypoints' needs [samples, points, 2 "
                "or 3] or heat maps [samples, points, height, width]: correct the kind, or write 'decode' = a callable"
            )
        points = array.astype(np.float64)
        finite = np.isfinite(points).all(axis=-1)
        scored = points[..., 2] >= self._spec.score if array.shape[-1] == 3 else finite
        return points[..., :2], np.asarray(finite & scored)

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        apart, one = joined(self._apart), len({part.shape[1] for part in self._changed}) == 1
        changes, lost = Changes(silent=self._silent), None
        whole = ([np.concatenate(parts)] if one else parts for parts in (self._changed, self._far))
        for changed, far in zip(*whole, strict=True):
            counted, lost = _of_samples(changed, far, np.full(changed.shape[1], fill_value=one))
            changes.add(counted)
        constant = float(apart.mean()) if len(apart) else 1.0
        nothing = f"has no point with a score of {self._spec.score:g} or more"
        part = "" if lost is None else f"point {lost}"
        return Evidence(*changes.counted(), changes.total, changes.silent, nothing, constant, part=part)


def _of_samples(changed: FloatArray, far: Array, live: Array) -> tuple[FloatArray, int | None]:
    """Return the change of each sample (NaN if it is not counted), and the index of the lost component, or ``None``.

    If no component is lost, or if the mean of ``changed`` is over ``LOST``, the change is the mean over the components.
    Otherwise it is the change of the worst lost component. ``changed`` (samples, components) has 0, 1, or NaN for a
    component that is not counted. ``far``, of the same shape, is true where the error exceeds ``FAR``. Only components
    for which ``live`` is true can be lost.
    """
    counted, sums = (~np.isnan(changed)).sum(axis=1), np.nansum(changed, axis=1)
    shares = np.nansum(changed, axis=0) / max(len(changed), 1)
    lost = live & ((shares > LOST) | (far.sum(axis=0) > OFTEN * len(far)))
    if lost.any() and np.nanmean(changed) <= LOST:
        worst = int(np.where(lost, shares, 0.0).argmax())
        return np.asarray(changed[:, worst]), worst
    return np.asarray(np.divide(sums, counted, out=np.full(len(changed), np.nan), where=counted > 0)), None


def _drawn(size: int) -> Array:
    """Return the indices of the components that are compared, the same for each batch."""
    if size <= COMPONENTS:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, COMPONENTS, replace=False))


def _units(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0), dtype=np.float64)
