"""Two sides compared run by run: within a run all samples share a process, so that between runs the run is the unit.

Thousands of samples of one process say nothing about the next (Georges et al., OOPSLA 2007; Kalibera and Jones,
ISMM 2013). What is compared are logarithms of run values, so that an effect is a ratio and its interval is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from typing import Literal

from hil.stats.exchange import exchanged

FEWEST = 5
"""Units a side below which no change is called: of 5 and 5 runs all of one side over all of the other is the outcome of
2 in C(10, 5) = 252 permutations, 0.8 %, whatever the distribution; of 4 and 4 it is 2 in 70."""

FEWEST_PAIRS = 8
"""As ``FEWEST``, of pairs: eight that all point one way are 2 of 2^8 = 256 sign flips, seven are 2 of 128."""

DEALT = 7
"""Runs a side from which on chance must not explain a change (``exchanged``). Of six, half of them 2 % slower, Welch's
test alone calls 0.9 % where nothing changed; of seven 1.3 %, of eight 1.7 %. Of five dealing would cost it a quarter of
what it finds, since only one way of 126 is rare enough."""

NOISE_DF = 20
"""Degrees of freedom that a learned noise between sessions counts with: a calibration takes 40 sessions and more
(``hil board calibrate``), and the half of it leaves room for a board that has changed since."""

POWER = 0.9
"""The chance with which a change that is called visible is found."""

Unit = Literal["runs", "sessions", "pairs"]

Sessions = Sequence[Sequence[float]]
"""The run values of one side: one sequence for each session, in any unit, all positive."""


class Change(Enum):
    """What a comparison says of the candidate."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Comparison:
    """A candidate beside its base.

    Attributes:
        ratio: candidate by base, of the geometric means of the run values.
        low: the ratio's lower bound; with ``high`` an interval at ``confidence``. 0 where no spread is known.
        high: its upper bound, infinite where no spread is known.
        p: two-sided, of Welch's test that the ratio is 1.
        runs: run values of base and candidate.
        visible: the least relative rise that this comparison would have found in 90 %; infinite if it cannot say.
        confidence: of the interval, and the complement of the level at which a change is called.
        unit: what was counted: runs, or sessions where there are at least five a side; pairs of ``compare_pairs``.
        noise: the relative standard deviation between sessions that is in the interval, learned or seen in a side of
            many sessions; None where it is not known and runs of different sessions were compared all the same.
        dealt: two-sided, of the same runs dealt out to the sides at random (``exchanged``), which holds for runs of any
            distribution. Of ``DEALT`` runs a side or more, where Welch's test finds something at ``confidence``; or 0.
    """

    ratio: float
    low: float
    high: float
    p: float
    runs: tuple[int, int]
    visible: float
    confidence: float
    unit: Unit = "runs"
    noise: float | None = None
    dealt: float = 0.0


def compare_runs(
    base: Sessions, cand: Sessions, *, confidence: float = 0.99, noise: float | None = None, above: float = 0.01
) -> Comparison:
    """``cand`` by ``base`` with its interval, by Welch's test on logarithms of run values (1947, Biometrika 34, 28).

    A session is a block: what the machine was like that day is common to all its runs. With at least five sessions on
    both sides their means are what is compared. With fewer, the runs are, and the variance between sessions is added in
    quadrature: that of the side that has five, or the learned ``noise`` (a relative standard deviation), whichever is
    larger; degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2, 110). ``above`` is the least effect
    that will be called, without which ``visible`` cannot be told.

    Raises ``ValueError`` for values that are not finite and positive, and for a side without any.
    """
    if not 0 < confidence < 1 or not 0 <= above < math.inf or not (noise is None or 0 <= noise < math.inf):
        raise ValueError(f"confidence {confidence}, above {above} and noise {noise} must be a share and two sizes")
    sides = [[_logs(session) for session in side if len(session)] for side in (base, cand)]
    runs = [list(chain.from_iterable(side)) for side in sides]
    if not all(runs):
        raise ValueError("no runs to compare on one side")
    means = [[_mean(session) for session in side] for side in sides]
    many = [len(side) >= FEWEST for side in sides]
    units = [means[at] if many[at] else runs[at] for at in (0, 1)]
    parts = [(_variance(unit) / len(unit), len(unit) - 1.0) for unit in units]
    between = None if all(many) else _between(means, many, noise)
    if between is not None:
        sd, df = between
        blocks = sum(1 / len(side) for side, enough in zip(sides, many, strict=True) if not enough)
        parts.append((sd * sd * blocks, df))
    shift = _mean(units[1]) - _mean(units[0])
    counted = len(runs[0]), len(runs[1])
    unit: Unit = "sessions" if all(many) else "runs"
    if min(len(one) for one in units) < 2:
        return Comparison(math.exp(shift), 0.0, math.inf, 1.0, counted, math.inf, confidence, unit, noise)
    seen = _variance(means[0]) ** 0.5 if all(many) else None if between is None else between[0]
    found = Comparison(*_welch(shift, parts, confidence, above, counted), unit, seen)
    if unit == "sessions" or min(counted) < DEALT or found.p > 1 - confidence:
        return found
    return replace(found, dealt=exchanged(*runs))


def compare_pairs(ratios: Sequence[float], *, confidence: float = 0.99, above: float = 0.01) -> Comparison:
    """A candidate by its base from ``ratios`` of pairs, each of two fresh processes that were timed in turns.

    What else runs on the machine meets both of a pair and leaves the ratio alone: it is a block of two, and Student's
    test of one sample is of the logarithms of the ratios (Box, Hunter and Hunter, Statistics for Experimenters, 3.2).
    Raises ``ValueError`` for what is not finite and positive, and for no pairs.
    """
    if not 0 < confidence < 1 or not 0 <= above < math.inf:
        raise ValueError(f"confidence {confidence} and above {above} must be a share and a size")
    logs = _logs(ratios)
    if not logs:
        raise ValueError("no pairs to compare")
    shift, n = _mean(logs), len(logs)
    if n < 2:
        return Comparison(math.exp(shift), 0.0, math.inf, 1.0, (n, n), math.inf, confidence, "pairs", 0.0)
    return Comparison(*_welch(shift, [(_variance(logs) / n, n - 1.0)], confidence, above, (n, n)), "pairs", 0.0)


@dataclass(frozen=True)
class Spread:
    """Relative standard deviations: between ``runs`` of one session, and between ``sessions`` beyond what runs make."""

    runs: float
    sessions: float


def spread_of(sessions: Sessions) -> Spread:
    """How runs and sessions differ, by the components of a one-way analysis of variance of their logarithms.

    Sessions of equal size: the variance of their means less what their runs' own makes of it, 0 where that is more
    (Searle, Casella and McCulloch, Variance Components, 3.6). Raises ``ValueError`` for fewer than two sessions of two
    runs each, for unequal ones, and as ``compare_runs`` does.
    """
    logs = [_logs(session) for session in sessions]
    size = len(logs[0]) if logs else 0
    if len(logs) < 2 or size < 2 or any(len(one) != size for one in logs):
        raise ValueError(f"two sessions of two runs, all of one size, are wanted, got {[len(one) for one in logs]}")
    within = math.fsum(_variance(one) for one in logs) / len(logs)
    between = _variance([_mean(one) for one in logs]) - within / size
    return Spread(math.sqrt(within), math.sqrt(max(0.0, between)))


def judge_change(
    c: Comparison,
    *,
    above: float = 0.01,
    exclude: float = 0.05,
    lower_is_better: bool = True,
    alpha: float | None = None,
) -> Change:
    """What may be said of the candidate; ``alpha`` is the level where many are judged at once, else the comparison's.

    ``WORSE`` and ``BETTER``: significant, and the estimate lies beyond ``above``, a relative change. Significant is
    what Welch's test finds at ``alpha`` and chance does not deal out at the comparison's own level (``DEALT``).
    ``SAME``: neither, and the interval excludes a worsening by ``exclude``. All else is ``UNCLEAR``, fewer than five
    runs a side included.
    """
    fewest = FEWEST_PAIRS if c.unit == "pairs" else FEWEST
    if min(c.runs) < fewest or not math.isfinite(c.ratio) or not 0 <= c.p <= 1:
        return Change.UNCLEAR
    if c.p <= (1 - c.confidence if alpha is None else alpha) and c.dealt <= 1 - c.confidence:
        if c.ratio > 1 + above:
            return Change.WORSE if lower_is_better else Change.BETTER
        if c.ratio < 1 - above:
            return Change.BETTER if lower_is_better else Change.WORSE
    excluded = c.high < 1 + exclude if lower_is_better else c.low > 1 - exclude
    return Change.SAME if excluded else Change.UNCLEAR


def critical(df: float, confidence: float) -> float:
    """Student's t that a two-sided test at ``confidence`` wants."""
    from scipy.special import stdtrit  # 24 MiB that only judging needs

    return float(stdtrit(df, (1 + confidence) / 2))


def _welch(
    shift: float, parts: list[tuple[float, float]], confidence: float, above: float, counted: tuple[int, int]
) -> tuple[float, float, float, float, tuple[int, int], float, float]:
    """The first fields of a ``Comparison``: ``parts`` are variances of the shift, each with its degrees of freedom."""
    from scipy.special import nctdtrinc, ndtri, stdtr

    variance = math.fsum(part for part, _ in parts)
    if variance <= 0:  # all runs of a side alike: whatever differs differs
        return math.exp(shift), math.exp(shift), math.exp(shift), float(shift == 0), counted, above, confidence
    error = math.sqrt(variance)
    df = 1 / math.fsum((part / variance) ** 2 / df for part, df in parts)
    wanted = critical(df, confidence)
    p = 2 * float(stdtr(df, -abs(shift) / error))
    # What a non-central t exceeds the critical value of in 90 %, and what lies beyond the least effect in 90 %.
    visible = max(float(nctdtrinc(df, 1 - POWER, wanted)), float(ndtri(POWER)) + math.log1p(above) / error) * error
    low, high = (_exp(shift + sign * wanted * error) for sign in (-1, 1))
    return math.exp(shift), low, high, p, counted, _exp(visible) - 1, confidence


def _between(means: list[list[float]], many: list[bool], noise: float | None) -> tuple[float, float] | None:
    """The standard deviation between sessions and its degrees of freedom, for a side that has too few to tell."""
    seen = [(math.sqrt(_variance(side)), len(side) - 1.0) for side, enough in zip(means, many, strict=True) if enough]
    known = seen if noise is None else [*seen, (noise, float(NOISE_DF))]
    return max(known, default=None)


def _logs(session: Sequence[float]) -> list[float]:
    if not all(0 < value < math.inf for value in session):
        raise ValueError(f"run values must be finite and over zero, got {list(session)}")
    return [math.log(value) for value in session]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Of the values, unbiased; 0 for one alone, which its caller does not use."""
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf  # math.exp overflows at 709
