"""The rules of other tools on the same runs as ours; their rates are reported without a bar.

Each rule has its documented defaults. A cell counts the runs in which a rule reports a slowdown. If nothing changed,
every report is a false alarm, so a gain that our rule reports counts as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import mannwhitneyu
from scipy.stats import t as student

from benchmarks.verdicts import timings
from benchmarks.verdicts.table import Cell, Claims, Sense, aligned, cell, percent
from hil.stats.power import runs_needed
from hil.stats.runs import Change, compare_runs, judge_change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.verdicts.timings import FloatArray

SDS = (0.002, 0.005, 0.01)
HISTORY = 30
"""Number of runs available on each side; every rule uses as many as it needs."""

PROCESSES, REPEATS = 2, 10
"""asv's defaults: processes per benchmark, and timings in each; a timing is the mean of several calls."""

P_VALUE, FACTOR = 0.002, 1.1
"""Limits of ``asv compare`` and ``asv continuous`` (asv 0.6, ``asv/_stats.py`` and ``asv/commands/compare.py``)."""

GROUPS = slice(3, 3 + REPEATS)
MEDIAN, MEAN, P99 = 0, 1, 2

OURS = "ours, runs by plan"
BARS: dict[float, tuple[float, Sense]] = {0.0: (0.01, "at most"), 0.02: (0.90, "at least"), 0.05: (0.99, "at least")}
CLAIM = {
    0.0: "our false alarms beside theirs",
    0.02: "our +2 % found beside theirs",
    0.05: "our +5 % found beside theirs",
}
CLAIMS: Claims = {CLAIM[effect]: (len(SDS) * len(timings.MODELS), *wanted) for effect, wanted in BARS.items()}


def statistics(samples: FloatArray) -> FloatArray:
    """Return each run's median, mean, 99th percentile and the ten timings that asv would use, shape (runs, 13)."""
    groups = samples.reshape(len(samples), REPEATS, -1).mean(axis=2)
    middle, p99 = np.quantile(samples, (0.5, 0.99), axis=1)
    return np.column_stack([middle, samples.mean(axis=1), p99, groups])


def benchmark_mean(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Return on which trials ``--benchmark-compare-fail=mean:5%`` of pytest-benchmark fails, by one mean a side."""
    return np.asarray(cand[:, 0, MEAN] > 1.05 * base[:, 0, MEAN])


def plain_p99(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Return on which trials the candidate's 99th percentile exceeds the base's by more than 5 %, by one run a side."""
    return np.asarray(cand[:, 0, P99] > 1.05 * base[:, 0, P99])


def asv_test(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Return on which trials asv's Mann-Whitney U test reports a slowdown, by the timings of two processes a side."""
    before, after = (_pooled(side) for side in (base, cand))
    p = mannwhitneyu(before, after, axis=1, method="asymptotic").pvalue
    return np.asarray((p < P_VALUE) & (np.median(after, axis=1) > np.median(before, axis=1)))


def asv_factor(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Return on which trials of ``asv_test`` the slowdown also exceeds the factor 1.1 that asv requires."""
    before, after = (_pooled(side) for side in (base, cand))
    larger = np.median(after, axis=1) > FACTOR * np.median(before, axis=1)
    return np.asarray(asv_test(base, cand).astype(np.bool_) & larger)


def bencher(base: FloatArray, cand: FloatArray) -> FloatArray:
    """Return on which trials Bencher's ``t_test`` at 0.99 alerts: a mean above Student's quantile of 30 older runs."""
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


def ours(base: FloatArray, cand: FloatArray, runs: int, *, either: bool) -> FloatArray:
    """Return on which trials our rule reports worse, by ``runs`` runs a side; with ``either``, worse or better."""
    called = {Change.WORSE, Change.BETTER} if either else {Change.WORSE}
    sides = zip(base[:, :runs, MEDIAN].tolist(), cand[:, :runs, MEDIAN].tolist(), strict=True)
    return np.array([judge_change(compare_runs([before], [after], noise=0.0)) in called for before, after in sides])


def cells(trials: int, seed: int) -> list[Cell]:
    """Return the cells of every rule and model: without a change, at +2 % and at +5 %."""
    return [
        one
        for number, (sd, model) in enumerate((sd, model) for sd in SDS for model in timings.MODELS)
        for one in _of(np.random.default_rng([seed, number]), model, sd, trials)
    ]


def _of(random: np.random.Generator, model: str, sd: float, trials: int) -> list[Cell]:
    base = timings.values(random, model, (trials, HISTORY), sd=sd, statistic=statistics)
    cand = timings.values(random, model, (trials, HISTORY), sd=sd, statistic=statistics)
    spread = float(np.log(base[:, :, MEDIAN]).std())
    noise = f"{model}, runs {100 * sd:g} %"
    cells_ = []
    for effect, (bar, sense) in BARS.items():
        what = _what(effect)
        after = cand * (1 + effect)
        runs = runs_needed(spread, effect or 0.02, BARS[effect or 0.02][0]) or HISTORY
        hits = int(ours(base, after, runs, either=not effect).sum())
        claim = CLAIM[effect]
        cells_.append(cell(f"{what}: {OURS}", noise, hits, trials, bar=bar, sense=sense, claim=claim))
        for name, rule in RULES.items():
            hits = int(rule(base, after).sum())
            cells_.append(cell(f"{what}: {name}", noise, hits, trials, bar=None, sense=sense))
    return cells_


def text(cells_: Sequence[Cell]) -> str:
    """Return the rules side by side: a row per noise; each cell has false alarms, +2 % found and +5 % found."""
    rates = {(one.name, one.model): one.rate for one in cells_}
    rules = (OURS, *RULES)
    rows = [["false alarm / +2 % / +5 % found", *rules]]
    for noise in dict.fromkeys(one.model for one in cells_):
        triples = ([rates[f"{_what(effect)}: {rule}", noise] for effect in BARS] for rule in rules)
        rows.append([noise, *(" / ".join(map(percent, three)) for three in triples)])
    return aligned(rows)


def _what(effect: float) -> str:
    return f"+{100 * effect:g} % found" if effect else "false alarm"


def _pooled(side: FloatArray) -> FloatArray:
    return np.asarray(side[:, :PROCESSES, GROUPS].reshape(len(side), -1))
