"""Error rates of verdicts against a limit, and how often sampling reaches a verdict before its budget ends.

It judges with ``hil.checks.latency.percentile``, as the suites do, and at the same interim analyses
(``hil.stats.InterimAnalyses``). Amounts are samples, not seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.verdicts.noise import MODELS, FloatArray, Noise
from benchmarks.verdicts.percentile import CONFIDENCE, drawn, verdict
from benchmarks.verdicts.table import Cell, Claims, cell
from hil.results import Verdict
from hil.stats import InterimAnalyses, samples_of_first_analysis, smallest_n

if TYPE_CHECKING:
    from collections.abc import Iterator

Q = 0.99
BUDGET = 20_000
ANALYSES = InterimAnalyses(samples_of_first_analysis(Q, CONFIDENCE), BUDGET, CONFIDENCE)
WRONG_BAR, DECIDED_BAR = 0.01, 0.9
NEAR, FAR = 0.02, 0.05
WRONG_CLAIM = {Verdict.PASSED: "wrong passes, p99 2 % over the limit", Verdict.FAILED: "wrong fails, p99 2 % under it"}
DECIDED_CLAIM = "decided within 20,000 samples, 5 % beside the limit"
EARLY_CLAIM = "a clearly good engine decided at the first look"
SHORT_CLAIM = "passed on fewer samples than p99 takes"
_INDEPENDENT = sum(noise.independent for noise in MODELS)
CLAIMS: Claims = {
    WRONG_CLAIM[Verdict.PASSED]: (len(MODELS), WRONG_BAR, "at most"),
    WRONG_CLAIM[Verdict.FAILED]: (len(MODELS), WRONG_BAR, "at most"),
    DECIDED_CLAIM: (2 * _INDEPENDENT, DECIDED_BAR, "at least"),
    EARLY_CLAIM: (_INDEPENDENT, DECIDED_BAR, "at least"),
    SHORT_CLAIM: (len(MODELS), 0.0, "at most"),
}


@dataclass(frozen=True)
class Ends:
    """How sampling ended in each trial: the verdict, and the number of samples."""

    verdicts: tuple[Verdict, ...]
    samples: tuple[int, ...]

    def count(self, *verdicts: Verdict) -> int:
        """Return the number of trials with one of the verdicts."""
        return sum(one in verdicts for one in self.verdicts)


def ended(series: FloatArray, limit: float) -> tuple[Verdict, int]:
    """Return the verdict at which sampling stops, and the number of samples."""
    reached, n = Verdict.INCONCLUSIVE, 0
    for number, end in enumerate(ANALYSES.ends, 1):
        n = int(end)
        reached = verdict(series[:n], Q, limit, ANALYSES.level(number))
        if reached is not Verdict.INCONCLUSIVE:
            break
    return reached, n


def simulated(noise: Noise, beside: float, trials: int, seed: int) -> Ends:
    """Return trials in which the true percentile is ``1 + beside`` times the limit."""
    limit = noise.quantile(Q) / (1 + beside)
    ends = [ended(series, limit) for series in drawn(noise, trials, BUDGET, seed, f"limit {beside}")]
    return Ends(tuple(reached for reached, _ in ends), tuple(n for _, n in ends))


def cells(trials: int, seed: int) -> list[Cell]:
    """Return all cells, model by model."""
    return [one for noise in MODELS for one in (*_wrong(noise, trials, seed), *_decided(noise, trials, seed))]


def _wrong(noise: Noise, trials: int, seed: int) -> Iterator[Cell]:
    for beside, wrong, what in ((NEAR, Verdict.PASSED, "passed though"), (-NEAR, Verdict.FAILED, "failed though")):
        hits = simulated(noise, beside, trials, seed).count(wrong)
        where = f"{what} p99 {abs(beside):.0%} {'over' if beside > 0 else 'under'} the limit"
        yield cell(where, noise.name, hits, trials, bar=WRONG_BAR, sense="at most", claim=WRONG_CLAIM[wrong])


def _decided(noise: Noise, trials: int, seed: int) -> Iterator[Cell]:
    bar, judged = (DECIDED_BAR, True) if noise.independent else (None, False)
    for beside, side in ((FAR, "over"), (-FAR, "under")) if judged else ():
        hits = simulated(noise, beside, trials, seed).count(Verdict.PASSED, Verdict.FAILED)
        where = f"decided within {BUDGET:,} samples, p99 {FAR:.0%} {side} the limit"
        yield cell(where, noise.name, hits, trials, bar=bar, sense="at least", claim=DECIDED_CLAIM)
    fewest, early = smallest_n(Q, CONFIDENCE), samples_of_first_analysis(Q, CONFIDENCE)
    hits = _passed(noise, early, ANALYSES.level(1), trials, seed)
    where = f"decided within {early} samples, p99 half the limit"
    yield cell(where, noise.name, hits, trials, bar=bar, sense="at least", claim=EARLY_CLAIM if judged else "")
    hits = _passed(noise, fewest - 1, CONFIDENCE, trials, seed)
    where = f"passed on {fewest - 1} samples, p99 half the limit"
    yield cell(where, noise.name, hits, trials, bar=0.0, sense="at most", claim=SHORT_CLAIM)


def _passed(noise: Noise, n: int, level: float, trials: int, seed: int) -> int:
    """Return how many of the trials with ``n`` samples pass, if the percentile is half the limit."""
    limit = 2 * noise.quantile(Q)
    return sum(verdict(series, Q, limit, level) is Verdict.PASSED for series in drawn(noise, trials, n, seed, "good"))
