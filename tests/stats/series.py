"""Autocorrelated series for the tests of statistics."""

from __future__ import annotations

import math

import numpy as np


def ar1(random: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """Return a stationary Gaussian AR(1) series of length ``n`` with autocorrelation ``rho`` at lag one."""
    noise = random.standard_normal(n)
    series = np.empty(n)
    series[0] = noise[0]
    for i in range(1, n):
        series[i] = rho * series[i - 1] + math.sqrt(1 - rho**2) * noise[i]
    return series


def ar1_rows(seed: int, runs: int, n: int, phi: float) -> np.ndarray:
    """Return AR(1) series with mean 0 and coefficient ``phi``, shape (runs, n), after 200 discarded steps each."""
    series = np.random.default_rng(seed).normal(size=(runs, n + 200))
    for at in range(1, n + 200):
        series[:, at] += phi * series[:, at - 1]
    return series[:, 200:]
