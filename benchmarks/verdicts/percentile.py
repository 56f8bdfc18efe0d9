"""How often a percentile's bounds contain it, and how often a drifting series correctly gets no verdict."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.verdicts.noise import MODELS, SPREAD, FloatArray, Noise
from benchmarks.verdicts.table import Cell, Claims, cell
from hil.checks import latency
from hil.results import Limit, Sense, Verdict
from hil.series import Series
from hil.stats import effective_size, percentile_bounds, samples_of_first_analysis

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIDENCE = 0.99
QUANTILES = (0.5, 0.9, 0.99)
SIZES = (samples_of_first_analysis(0.99, CONFIDENCE), 3000, 10_000)
DRIFT = 0.2
"""Relative change from the beginning to the end of a drifting series: two standard deviations of the noise."""

OFF = (-0.05, -0.02, 0.02, 0.05)
"""Relative distance of the limit from the percentile of the whole series."""

SLIGHT = 0.02
"""A drift so slow that a limit twice as high would be reached only after years of such series; it has no bar."""

OPEN_BAR = 0.95
OPEN_CLAIM = "no verdict on what drifts"
CLAIMS: Claims = {
    f"p{100 * q:g} within its bound": (len(SIZES) * len(MODELS), CONFIDENCE, "at least") for q in QUANTILES
}
CLAIMS[OPEN_CLAIM] = (4 * (2 * len(OFF) + 1), OPEN_BAR, "at least")
ROWS = 50  # series drawn at a time: some 10 MiB


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the random generator of a cell, which does not depend on the other cells."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def drawn(noise: Noise, trials: int, n: int, seed: int, name: str) -> Iterator[FloatArray]:
    """Yield ``trials`` series of ``n`` latencies."""
    random = generator(seed, f"{name} {noise.name} {n}")
    for done in range(0, trials, ROWS):
        yield from noise.draw(random, min(ROWS, trials - done), n)


def coverage(trials: int, seed: int) -> list[Cell]:
    """Return how often a bound of each percentile holds; of the lower and the upper bound, the one that fails more."""
    cells = []
    for noise in MODELS:
        for n in SIZES:
            missed = {q: np.zeros(2, dtype=np.int64) for q in QUANTILES}
            for series in drawn(noise, trials, n, seed, "coverage"):
                for q in QUANTILES:
                    low, high = percentile_bounds(series, q, CONFIDENCE, effective_size(series, q))
                    true = noise.quantile(q)
                    missed[q] += (high < true, low > true)
            cells += [
                cell(
                    f"p{100 * q:g} of {n} samples within its bound",
                    noise.name,
                    trials - int(missed[q].max()),
                    trials,
                    bar=CONFIDENCE,
                    sense="at least",
                    claim=f"p{100 * q:g} within its bound",
                )
                for q in QUANTILES
            ]
    return cells


def drift(trials: int, seed: int) -> list[Cell]:
    """Return how often a drifting series gets no verdict, with the limit near its percentile or twice as high.

    A drift of ``SLIGHT`` has no bar.
    """
    cells = []
    for q in (0.5, 0.99):
        for n in SIZES[1:]:
            near = [(1 / (1 + off), f"limit {off:+.0%}") for off in OFF]
            cells += [_open(q, n, way * DRIFT, *where, trials, seed) for way in (1, -1) for where in near]
            cells.append(_open(q, n, DRIFT, 0.5, "at half the limit", trials, seed))
            cells.append(_open(q, n, SLIGHT, 0.5, "at half the limit", trials, seed))
    return cells


def _open(q: float, n: int, rise: float, share: float, where: str, trials: int, seed: int) -> Cell:  # noqa: PLR0913, PLR0917 - a cell's coordinates
    """Return how often there is no verdict if the percentile of the series is ``share`` of the limit."""
    random = generator(seed, f"drift {q} {n} {rise}")
    ramp = 1 + rise * (np.linspace(0, 1, n) - 0.5)
    hits = 0
    for _ in range(trials):
        series = ramp * (1 + SPREAD * random.standard_normal(n))
        limit = float(np.quantile(series, q)) / share
        hits += verdict(series, q, limit, CONFIDENCE) is Verdict.INCONCLUSIVE
    name = f"p{100 * q:g} of {n} samples inconclusive, {where}"
    judged = abs(rise) == DRIFT
    bar, claim = (OPEN_BAR, OPEN_CLAIM) if judged else (None, "")
    return cell(name, f"drift of {rise:+.0%}", hits, trials, bar=bar, sense="at least", claim=claim)


def verdict(samples: FloatArray, q: float, limit: float, confidence: float) -> Verdict:
    """Return the verdict of the suites on these latencies."""
    start = np.concatenate([[0.0], np.cumsum(samples)[:-1]])
    held = Limit(value=limit, unit="s", sense=Sense.AT_MOST, source="simulation")
    return latency.percentile(Series(start, samples, 1, {}), q, held, confidence).verdict


def cells(trials: int, seed: int) -> list[Cell]:
    """Return all cells."""
    return [*coverage(trials, seed), *drift(trials, seed)]
