"""How often a verdict against a limit is wrong, and how often there is one, sampling until the limit is settled.

The judge is the suites' (``hil.checks.latency.percentile``), the looks are theirs too (``hil.stats.Looks``), counted in
samples here and in seconds there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.verdicts.noise import MODELS, FloatArray, Noise
from benchmarks.verdicts.percentile import CONFIDENCE, drawn, verdict
from benchmarks.verdicts.table import Cell, cell
from hil.model import Verdict
from hil.stats import Looks, first_look, smallest_n

if TYPE_CHECKING:
    from collections.abc import Iterator

Q = 0.99
BUDGET = 20_000
LOOKS = Looks(first_look(Q, CONFIDENCE), BUDGET, CONFIDENCE)
WRONG_BAR, DECIDED_BAR = 0.01, 0.9
NEAR, FAR = 0.02, 0.05


@dataclass(frozen=True)
class Ends:
    """How sampling ended in each trial: the verdict, and after how many samples."""

    verdicts: tuple[Verdict, ...]
    samples: tuple[int, ...]

    def count(self, *wanted: Verdict) -> int:
        """How many ended so."""
        return sum(one in wanted for one in self.verdicts)


def ended(series: FloatArray, limit: float) -> tuple[Verdict, int]:
    """The verdict at which sampling stops, and after how many samples."""
    said, n = Verdict.INCONCLUSIVE, 0
    for look, end in enumerate(LOOKS.ends, 1):
        n = int(end)
        said = verdict(series[:n], Q, limit, LOOKS.level(look))
        if said is not Verdict.INCONCLUSIVE:
            break
    return said, n


def simulated(noise: Noise, beside: float, trials: int, seed: int) -> Ends:
    """Trials in which the true percentile is ``1 + beside`` times the limit."""
    limit = noise.quantile(Q) / (1 + beside)
    ends = [ended(series, limit) for series in drawn(noise, trials, BUDGET, seed, f"limit {beside}")]
    return Ends(tuple(said for said, _ in ends), tuple(n for _, n in ends))


def cells(trials: int, seed: int) -> list[Cell]:
    """All cells, model by model."""
    return [one for noise in MODELS for one in _of(noise, trials, seed)]


def _of(noise: Noise, trials: int, seed: int) -> Iterator[Cell]:
    decided = (Verdict.PASSED, Verdict.FAILED)
    for beside, wrong, what in ((NEAR, Verdict.PASSED, "passed though"), (-NEAR, Verdict.FAILED, "failed though")):
        ends = simulated(noise, beside, trials, seed)
        where = f"{what} p99 {abs(beside):.0%} {'over' if beside > 0 else 'under'} the limit"
        yield cell(where, noise.name, ends.count(wrong), trials, bar=WRONG_BAR, sense="at most")
    for beside, side in ((FAR, "over"), (-FAR, "under")) if noise.independent else ():
        ends = simulated(noise, beside, trials, seed)
        where = f"decided within {BUDGET:,} samples, p99 {FAR:.0%} {side} the limit"
        yield cell(where, noise.name, ends.count(*decided), trials, bar=DECIDED_BAR, sense="at least")
    fewest, early = smallest_n(Q, CONFIDENCE), first_look(Q, CONFIDENCE)
    good = [ended_early(series, noise, early) for series in drawn(noise, trials, early, seed, "good")]
    bar = DECIDED_BAR if noise.independent else None
    where = f"decided within {early} samples, p99 half the limit"
    yield cell(where, noise.name, sum(good), trials, bar=bar, sense="at least")
    short = [
        verdict(series, Q, 2 * noise.quantile(Q), CONFIDENCE) is Verdict.PASSED
        for series in drawn(noise, trials, fewest - 1, seed, "short")
    ]
    yield cell(
        f"passed on {fewest - 1} samples, p99 half the limit", noise.name, sum(short), trials, bar=0.0, sense="at most"
    )


def ended_early(series: FloatArray, noise: Noise, n: int) -> bool:
    """Whether an engine at half its limit is passed at the first look."""
    return verdict(series[:n], Q, 2 * noise.quantile(Q), LOOKS.level(1)) is Verdict.PASSED
