"""What other tools' rules do with the same runs: nothing is asked of them, their rates stand beside ours.

Each is simulated by its documented default, on runs of the same samples as ours, and called where it calls a slowdown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import mannwhitneyu
from scipy.stats import t as student

from benchmarks.verdicts import timings
from benchmarks.verdicts.table import Cell, cell

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.verdicts.timings import FloatArray

SD = 0.01
EFFECTS = (0.0, 0.02, 0.05)
HISTORY = 30
"""Runs of the base that Bencher's threshold has to go by: the others take as many of them as they would."""

PROCESSES, REPEATS = 2, 10
"""asv's defaults: processes a benchmark runs in, and timings in each, every one a mean over some calls."""

P_VALUE, FACTOR = 0.002, 1.1
"""Of ``asv compare`` and ``asv continuous`` (asv 0.6, ``asv/_stats.py`` and ``asv/commands/compare.py``)."""

GROUPS = slice(2, 2 + REPEATS)
MEAN, P99 = 0, 1


def statistics(samples: FloatArray) -> FloatArray:
    """Of each run: its mean, its 99th percentile and the ten timings that asv would take of it, shape (runs, 12)."""
    groups = samples.reshape(len(samples), REPEATS, -1).mean(axis=2)
    p99 = np.quantile(samples, 0.99, axis=1)
    return np.column_stack([samples.mean(axis=1), p99, groups])


def benchmark_mean(base: FloatArray, cand: FloatArray) -> FloatArray:
    """pytest-benchmark's ``--benchmark-compare-fail=mean:5%``: one run's mean by the other's."""
    return np.asarray(cand[:, 0, MEAN] > 1.05 * base[:, 0, MEAN])


def plain_p99(base: FloatArray, cand: FloatArray) -> FloatArray:
    """One run's 99th percentile 5 % over the other's."""
    return np.asarray(cand[:, 0, P99] > 1.05 * base[:, 0, P99])


def asv_test(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Asv's Mann-Whitney U test on the timings of two processes a side, and slower."""
    before, after = (_pooled(side) for side in (base, cand))
    p = mannwhitneyu(before, after, axis=1, method="asymptotic").pvalue
    return np.asarray((p < P_VALUE) & (np.median(after, axis=1) > np.median(before, axis=1)))


def asv_factor(base: FloatArray, cand: FloatArray) -> FloatArray:
    """As ``asv_test``, and slower by the factor of 1.1 that asv asks for."""
    before, after = (_pooled(side) for side in (base, cand))
    return np.logical_and(asv_test(base, cand), np.median(after, axis=1) > FACTOR * np.median(before, axis=1))


def bencher(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Bencher's ``t_test`` at 0.99: a run's mean over Student's quantile, located and scaled by 30 earlier runs."""
    before = base[:, :, MEAN]
    line = student.ppf(0.99, HISTORY - 1) * before.std(axis=1, ddof=1)
    return np.asarray(cand[:, 0, MEAN] > before.mean(axis=1) + line)


RULES: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "pytest-benchmark mean:5%": benchmark_mean,
    "asv p < 0.002": asv_test,
    "asv p < 0.002 and factor 1.1": asv_factor,
    "Bencher t_test 0.99 of 30 runs": bencher,
    "plain p99 + 5 %": plain_p99,
}


def cells(trials: int, seed: int) -> list[Cell]:
    """Every rule in every model: called where nothing changed, at +2 % and at +5 %."""
    found = []
    for number, model in enumerate(timings.MODELS):
        random = np.random.default_rng([seed, number])
        base = timings.values(random, model, (trials, HISTORY), sd=SD, statistic=statistics)
        cand = timings.values(random, model, (trials, PROCESSES), sd=SD, statistic=statistics)
        noise = f"{model}, runs {100 * SD:g} %"
        for name, rule in RULES.items():
            for effect in EFFECTS:
                hits = int(rule(base, cand * (1 + effect)).sum())
                what = f"+{100 * effect:g} % found" if effect else "false alarm"
                found.append(cell(f"{what}: {name}", noise, hits, trials, bar=None, sense="at most"))
    return found


def _pooled(side: FloatArray) -> FloatArray:
    return np.asarray(side[:, :PROCESSES, GROUPS].reshape(len(side), -1))
