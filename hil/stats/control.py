"""Summarizes the control: a fixed workload that is timed in short windows between the inferences of a timed series.

Its times differ between two sessions only if the machine does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hil.results import ControlSummary
from hil.stats.correlation import effective_size_of
from hil.stats.percentile import percentile_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

__all__ = ["ControlSeries", "ControlSummary", "summary"]

CONFIDENCE = 0.95
"""The confidence of the two-sided intervals of a summary."""

_SIDE = 1 - (1 - CONFIDENCE) / 2
_ONE_SD = (0.1587, 0.8413)  # the quantiles at one standard deviation below and above the mean of a normal distribution
_PAIR = 2  # the fewest windows with a variance


@dataclass(frozen=True)
class ControlSeries:
    """The control beside one timed series.

    Attributes:
        workload: name and version of the workload.
        start: when each inference of the workload began, in seconds on the worker's monotonic clock, shape (n,).
        duration: seconds of each inference, shape (n,).
        sizes: the number of inferences in each window, in the order of time; their sum is n.
        seconds: the time that the control took from the measurement.
    """

    workload: str
    start: FloatArray
    duration: FloatArray
    sizes: tuple[int, ...]
    seconds: float = 0.0

    @classmethod
    def joined(cls, parts: Sequence[ControlSeries | None]) -> ControlSeries | None:
        """Return the controls of consecutive parts of one series as one, in order; ``None`` if no part has a control.

        Parts without a control are left out.
        """
        present = [part for part in parts if part is not None]
        if not present:
            return None
        start, duration = (np.concatenate([getattr(one, name) for one in present]) for name in ("start", "duration"))
        sizes = tuple(size for one in present for size in one.sizes)
        return cls(present[0].workload, start, duration, sizes, sum(one.seconds for one in present))

    @property
    def is_usable(self) -> bool:
        """Whether the durations are positive and finite, and the windows have all of them."""
        whole = bool(self.sizes) and min(self.sizes) > 0 and self.start.shape == self.duration.shape
        durations = self.duration
        return whole and sum(self.sizes) == durations.size and bool((np.isfinite(durations) & (durations > 0)).all())

    def medians(self) -> tuple[FloatArray, FloatArray]:
        """Return when each window began, and the median of its durations (s); shapes (windows,)."""
        ends = np.cumsum(self.sizes)
        parts = np.split(self.duration, ends[:-1])
        return self.start[ends - np.array(self.sizes)], np.array([float(np.median(part)) for part in parts])


def summary(series: Sequence[ControlSeries]) -> ControlSummary | None:
    """Return the summary of the windows of all ``series``, which are of one session and one workload.

    Return ``None`` if there are no windows, if a series is unusable, or if the workloads differ. The intervals are
    those of ``percentile_bounds`` and of Welch's test.
    """
    workloads = {one.workload for one in series}
    if len(workloads) != 1 or not all(one.is_usable for one in series):
        return None
    starts, medians = (np.concatenate(parts) for parts in zip(*(one.medians() for one in series), strict=True))
    medians = medians[np.argsort(starts, kind="stable")]
    logs = np.log(medians)
    low, high = percentile_bounds(medians, 0.5, _SIDE, effective_size_of(logs))
    below, above = np.quantile(logs, _ONE_SD)
    drift, drift_low, drift_high = _drift(logs)
    return ControlSummary(
        workload=workloads.pop(),
        windows=medians.size,
        median=float(np.median(medians)),
        low=_finite(low),
        high=_finite(high),
        spread=float(above - below) / 2,
        drift=drift,
        drift_low=_finite(drift_low),
        drift_high=_finite(drift_high),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _drift(logs: FloatArray) -> tuple[float, float, float]:
    """Return the mean of the last third minus that of the first, with its interval; 0 with fewer than three windows."""
    from scipy.special import stdtrit  # 24 MiB that only judging needs

    third = logs.size // 3
    if not third:
        return 0.0, -math.inf, math.inf
    first, last = logs[:third], logs[-third:]
    drift = float(last.mean() - first.mean())
    if third < _PAIR:
        return drift, -math.inf, math.inf
    parts = [float(one.var(ddof=1)) / third for one in (first, last)]
    error = sum(parts)
    if error <= 0:
        return drift, drift, drift
    freedom = error**2 / sum(part**2 / (third - 1) for part in parts)
    half = float(stdtrit(freedom, _SIDE)) * math.sqrt(error)
    return drift, drift - half, drift + half
