"""Bounds that hold without assuming a distribution, as pure functions over arrays.

Every bound is one-sided at ``confidence``: ``high`` is exceeded by the true value with probability
at most ``1 - confidence``, and so is ``low`` undercut. Nothing here draws a verdict.
"""

from __future__ import annotations

from hil.stats.bootstrap import Pool, bootstrap_drop, bootstrap_pooled_drop
from hil.stats.correlation import effective_size
from hil.stats.means import mean_interval
from hil.stats.percentile import percentile_bounds, samples_needed, smallest_n
from hil.stats.slope import slope_interval
from hil.stats.stopping import Looks, first_look, samples_missing
from hil.stats.trend import drift

__all__ = [
    "Looks",
    "Pool",
    "bootstrap_drop",
    "bootstrap_pooled_drop",
    "drift",
    "effective_size",
    "first_look",
    "mean_interval",
    "percentile_bounds",
    "samples_missing",
    "samples_needed",
    "slope_interval",
    "smallest_n",
]
