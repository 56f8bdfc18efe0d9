"""Computes the mean of a correlated series with its confidence interval."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.stats.correlation import FEWEST, effective_size_of
from hil.stats.vectors import autocorrelation, check, vector

_PAIR = 2  # the fewest effective samples with a variance


def mean_interval(samples: npt.ArrayLike, confidence: float) -> tuple[float, float, float, float]:
    """Return the mean of a correlated series: ``(mean, low, high, worth)``, each bound one-sided at ``confidence``.

    ``worth`` is the effective size of the series; below two, the interval is infinite. The bounds are Student's with
    ``worth`` - 1 degrees of freedom (Zwiers and von Storch 1995, J. Climate 8, 336). Raise ``ValueError`` unless
    ``samples`` is a finite vector with at least one element.
    """
    from scipy.special import stdtrit  # 24 MiB that only judging needs

    check(0.5, confidence)
    series = vector(samples, "samples")
    n = series.size
    if not n:
        raise ValueError("no samples to take the mean of")
    mean = float(series.mean())
    worth = effective_size_of(series) if n >= FEWEST else 1.0
    correlation = autocorrelation(series)
    lag = 0.0 if correlation is None or n < FEWEST else float(correlation[1])
    lag += (1 + 4 * lag) / n  # the bias of a short series (Marriott and Pope 1954, Biometrika 41, 390)
    if correlation is not None and lag > 0:
        worth = max(1.0, min(worth, n * (1 - min(lag, 1.0)) / (1 + lag)))
    if worth < _PAIR:
        return mean, -math.inf, math.inf, worth
    variance = float(np.square(series - mean).sum()) / (n * (1 - 1 / worth))
    half = float(stdtrit(worth - 1, confidence)) * math.sqrt(variance / worth)
    return mean, mean - half, mean + half, worth


def independent_mean(
    samples: npt.ArrayLike, confidence: float, worth: float | None = None
) -> tuple[float, float, float]:
    """Return the mean of independent values: ``(mean, low, high)``, each bound Student's, one-sided at ``confidence``.

    ``worth`` is how many of the values are distinct, ``None`` if all are. The interval is infinite if fewer than two
    are. Raise ``ValueError`` unless ``samples`` is a finite vector with at least one element.
    """
    from scipy.special import stdtrit  # 24 MiB that only judging needs

    check(0.5, confidence)
    values = vector(samples, "samples")
    if not values.size:
        raise ValueError("no samples to take the mean of")
    mean, counted = float(values.mean()), min(values.size, values.size if worth is None else worth)
    if counted < _PAIR:
        return mean, -math.inf, math.inf
    variance = float(np.square(values - mean).sum()) / (values.size - 1)
    half = float(stdtrit(counted - 1, confidence)) * math.sqrt(variance / counted)
    return mean, mean - half, mean + half
