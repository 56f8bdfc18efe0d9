"""Series that hang together, for the tests of statistics."""

from __future__ import annotations

import math

import numpy as np


def ar1(random: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """A stationary Gaussian series whose neighbours correlate by ``rho``."""
    noise = random.standard_normal(n)
    series = np.empty(n)
    series[0] = noise[0]
    for i in range(1, n):
        series[i] = rho * series[i - 1] + math.sqrt(1 - rho**2) * noise[i]
    return series


def ar1_rows(seed: int, runs: int, n: int, phi: float) -> np.ndarray:
    """Series of mean 0 whose neighbours hang together by ``phi``, settled."""
    series = np.random.default_rng(seed).normal(size=(runs, n + 200))
    for at in range(1, n + 200):
        series[:, at] += phi * series[:, at - 1]
    return series[:, 200:]
