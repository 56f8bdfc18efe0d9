"""Computes confidence bounds and tests, as pure functions over arrays.

Bounds are one-sided at ``confidence``: the true value is above ``high`` with probability at most ``1 - confidence``,
and below ``low`` with probability at most ``1 - confidence``. Only the intervals of ``hil.stats.runs`` are two-sided.
"""

from __future__ import annotations

from hil.stats.bootstrap import Pool, bootstrap_drop, bootstrap_pooled_drop
from hil.stats.correlation import effective_size
from hil.stats.growth import Growth, growth
from hil.stats.means import independent_mean, mean_interval
from hil.stats.percentile import percentile_bounds, samples_needed, smallest_n
from hil.stats.shares import share_bounds
from hil.stats.slope import slope_interval
from hil.stats.stopping import InterimAnalyses, samples_missing, samples_of_first_analysis
from hil.stats.trend import drift

__all__ = [
    "Growth",
    "InterimAnalyses",
    "Pool",
    "bootstrap_drop",
    "bootstrap_pooled_drop",
    "drift",
    "effective_size",
    "growth",
    "independent_mean",
    "mean_interval",
    "percentile_bounds",
    "samples_missing",
    "samples_needed",
    "samples_of_first_analysis",
    "share_bounds",
    "slope_interval",
    "smallest_n",
]
