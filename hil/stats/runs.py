"""Compares the run values of two sides. The unit is the run, because all samples of a run share one process.

The source is Georges et al., OOPSLA 2007, and Kalibera and Jones, ISMM 2013. Logarithms of run values are compared, so
that an effect and its interval are ratios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from typing import Literal

from hil.stats.exchange import permutation_p_value

FEWEST = 5
"""The fewest units per side with which a change is reported. With 5 units per side, every value of one side exceeds
every value of the other in 2 of C(10, 5) = 252 permutations, 0.8 %, for any distribution; with 4, in 2 of 70."""

FEWEST_PAIRS = 8
"""The fewest pairs with which a change is reported. Eight pairs all have the same sign in 2 of 2^8 = 256 sign flips,
seven pairs in 2 of 128."""

FEWEST_PERMUTED = 7
"""The fewest runs per side for which the permutation test must confirm a change as well. If each run is 2 % slower with
probability one half and nothing changed, Welch's test alone reports a change in 0.9 % of cases with six runs per side,
1.3 % with seven and 1.7 % with eight. With five runs, the permutation test would lose a quarter of the true changes,
because only one outcome in 126 is rare enough."""

NOISE_DF = 20
"""Degrees of freedom of a calibrated noise between sessions. A calibration has 40 sessions or more (``hil board
calibrate``); half of that allows for changes of the board since then."""

POWER = 0.9
"""The probability of detecting a change of the size ``Comparison.visible``."""

Unit = Literal["runs", "sessions", "pairs"]

Sessions = Sequence[Sequence[float]]
"""The run values of one side: one sequence for each session, in any unit, all positive."""


class Change(Enum):
    """The result of a comparison for the candidate."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Comparison:
    """A candidate compared with its base.

    The spread is unknown if a side has a single value.

    Attributes:
        ratio: geometric mean of the candidate's run values divided by that of the base.
        low: lower bound of the two-sided interval of the ratio; 0 if the spread is unknown.
        high: upper bound of the ratio; infinite if the spread is unknown.
        p: two-sided p value of the test that the ratio is 1; 1 if the spread is unknown.
        runs: number of run values of base and candidate.
        visible: the least relative rise that this comparison would have detected in 90 % of cases; infinite if unknown.
        confidence: confidence of the interval; a change is reported at the level 1 - ``confidence``.
        unit: the compared unit: ``sessions`` if both sides have five or more, else ``runs``; ``pairs`` for
            ``compare_pairs``.
        noise: the relative standard deviation between sessions that the interval includes; ``None`` if it is unknown.
            The interval then describes these sessions only.
        permutation_p: two-sided p value of the permutation test of the same runs; 0 if the test is not needed.
        sides: the geometric means of base and candidate, of which ``ratio`` is the quotient; ``None`` for pairs.
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
    permutation_p: float = 0.0
    sides: tuple[float, float] | None = None


def compare_runs(  # noqa: PLR0913 - two sides, and what is known of them, named at each call
    base: Sessions,
    cand: Sessions,
    *,
    confidence: float = 0.99,
    noise: float | None = None,
    noise_df: float = NOISE_DF,
    above: float = 0.01,
) -> Comparison:
    """Compare ``cand`` with ``base`` by Welch's test on the logarithms of run values (1947, Biometrika 34, 28).

    A side with five or more sessions is represented by the means of its sessions. Any other side is represented by its
    runs, with the variance between sessions added: ``noise`` (relative, with ``noise_df`` degrees of freedom; ``None``:
    unknown) or the other side's, if larger. ``above`` is the least relative change that will be reported. Raise
    ``ValueError`` for values that are not finite and positive, a side without values, or a setting out of range.
    """
    if not 0 < confidence < 1 or not 0 <= above < math.inf or not (noise is None or 0 <= noise < math.inf):
        raise ValueError(
            f"confidence must be between 0 and 1, above and noise at least 0: {confidence}, {above}, {noise}"
        )
    if not 0 < noise_df < math.inf:
        raise ValueError(f"the degrees of freedom of the noise must be positive and finite: {noise_df}")
    sides = [[_logs(session) for session in side if len(session)] for side in (base, cand)]
    runs = [list(chain.from_iterable(side)) for side in sides]
    if not all(runs):
        raise ValueError("no runs to compare on one side")
    means = [[_mean(session) for session in side] for side in sides]
    many = [len(side) >= FEWEST for side in sides]
    units = [means[at] if many[at] else runs[at] for at in (0, 1)]
    parts = [(_variance(unit) / len(unit), len(unit) - 1.0) for unit in units]
    between = None if all(many) else _between(means, many, None if noise is None else (noise, noise_df))
    if between is not None:
        sd, df = between
        blocks = sum(1 / len(side) for side, enough in zip(sides, many, strict=True) if not enough)
        parts.append((sd * sd * blocks, df))
    centers = _mean(units[0]), _mean(units[1])
    shift, shown = centers[1] - centers[0], (_exp(centers[0]), _exp(centers[1]))
    counted = len(runs[0]), len(runs[1])
    unit: Unit = "sessions" if all(many) else "runs"
    if min(len(values) for values in units) < 2:
        return Comparison(math.exp(shift), 0.0, math.inf, 1.0, counted, math.inf, confidence, unit, noise, sides=shown)
    included = _variance(means[0]) ** 0.5 if all(many) else None if between is None else between[0]
    comparison = Comparison(*_welch(shift, parts, confidence, above, counted), unit, included, sides=shown)
    if unit == "sessions" or min(counted) < FEWEST_PERMUTED or comparison.p > 1 - confidence:
        return comparison
    return replace(comparison, permutation_p=permutation_p_value(*runs))


def compare_pairs(ratios: Sequence[float], *, confidence: float = 0.99, above: float = 0.01) -> Comparison:
    """Compare a candidate with its base by ``ratios`` (candidate / base) of pairs of processes timed alternately.

    The test is Student's one-sample test of the logarithms of the ratios (Box, Hunter and Hunter, Statistics for
    Experimenters, 3.2). Raise ``ValueError`` unless there are ratios and all are finite and positive, and for a
    setting out of range.
    """
    if not 0 < confidence < 1 or not 0 <= above < math.inf:
        raise ValueError(
            f"confidence must lie between 0 and 1, and above must not be negative: got {confidence} and {above}"
        )
    logs = _logs(ratios)
    if not logs:
        raise ValueError("no pairs to compare")
    shift, n = _mean(logs), len(logs)
    if n < 2:
        return Comparison(math.exp(shift), 0.0, math.inf, 1.0, (n, n), math.inf, confidence, "pairs", 0.0)
    return Comparison(*_welch(shift, [(_variance(logs) / n, n - 1.0)], confidence, above, (n, n)), "pairs", 0.0)


@dataclass(frozen=True)
class Spread:
    """Relative standard deviations: ``runs`` between the runs of one session, ``sessions`` between sessions alone."""

    runs: float
    sessions: float


def spread_of(sessions: Sessions) -> Spread:
    """Return the variance components of ``sessions``, by a one-way analysis of variance of the logarithms.

    The source is Searle, Casella and McCulloch, Variance Components, 3.6. Raise ``ValueError`` unless there are two or
    more sessions of equal size, with two or more runs each, and all values are finite and positive.
    """
    logs = [_logs(session) for session in sessions]
    size = len(logs[0]) if logs else 0
    if len(logs) < 2 or size < 2 or any(len(one) != size for one in logs):
        raise ValueError(
            f"give two or more sessions of equal size, two or more runs each: got {[len(one) for one in logs]}"
        )
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
    """Return what the comparison ``c`` shows; ``above`` and ``exclude`` are relative changes.

    ``WORSE`` or ``BETTER`` if the change is significant and exceeds ``above``. Otherwise ``SAME`` if the interval
    excludes a worsening by ``exclude``, else ``UNCLEAR``. Always ``UNCLEAR`` with fewer than five runs on a side or
    fewer than eight pairs. ``alpha`` replaces 1 - ``c.confidence`` if ``c.p`` is adjusted for multiple tests. If the
    noise between sessions is unknown, the result is never ``WORSE`` or ``BETTER``, and ``SAME`` requires that no change
    by ``exclude`` happened in either direction.
    """
    fewest = FEWEST_PAIRS if c.unit == "pairs" else FEWEST
    if min(c.runs) < fewest or not math.isfinite(c.ratio) or not 0 <= c.p <= 1:
        return Change.UNCLEAR
    if c.noise is None:
        return Change.SAME if 1 - exclude < c.low <= c.high < 1 + exclude else Change.UNCLEAR
    if c.p <= (1 - c.confidence if alpha is None else alpha) and c.permutation_p <= 1 - c.confidence:
        if c.ratio > 1 + above:
            return Change.WORSE if lower_is_better else Change.BETTER
        if c.ratio < 1 - above:
            return Change.BETTER if lower_is_better else Change.WORSE
    excluded = c.high < 1 + exclude if lower_is_better else c.low > 1 - exclude
    return Change.SAME if excluded else Change.UNCLEAR


def critical(df: float, confidence: float) -> float:
    """Return the critical value of Student's t for a two-sided test at ``confidence``."""
    from scipy.special import stdtrit  # 24 MiB that only judging needs

    return float(stdtrit(df, (1 + confidence) / 2))


def _welch(
    shift: float, parts: list[tuple[float, float]], confidence: float, above: float, counted: tuple[int, int]
) -> tuple[float, float, float, float, tuple[int, int], float, float]:
    """Return the first seven fields of a ``Comparison``, from ``ratio`` to ``confidence``, by Welch's test.

    ``shift`` is the difference of the means of the logarithms. ``parts`` has each part of the variance of ``shift`` and
    its degrees of freedom (combined as by Satterthwaite 1946, Biometrics Bulletin 2, 110). ``counted`` are the numbers
    of runs, ``above`` the relative change that is reported.
    """
    from scipy.special import nctdtrinc, ndtri, stdtr

    variance = math.fsum(part for part, _ in parts)
    if variance <= 0:  # no spread: any difference is significant
        return math.exp(shift), math.exp(shift), math.exp(shift), float(shift == 0), counted, above, confidence
    error = math.sqrt(variance)
    df = 1 / math.fsum((part / variance) ** 2 / df for part, df in parts)
    threshold = critical(df, confidence)
    p = 2 * float(stdtr(df, -abs(shift) / error))
    # The change must be significant in 90 % of cases (non-central t) and be estimated beyond `above` in 90 % of cases.
    visible = max(float(nctdtrinc(df, 1 - POWER, threshold)), float(ndtri(POWER)) + math.log1p(above) / error) * error
    low, high = (_exp(shift + sign * threshold * error) for sign in (-1, 1))
    return math.exp(shift), low, high, p, counted, _exp(visible) - 1, confidence


def _between(
    means: list[list[float]], many: list[bool], noise: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Return the standard deviation between sessions and its degrees of freedom; ``None`` if unknown.

    It is the largest of ``noise`` and of the estimates from the session ``means`` of the sides with enough sessions
    (``many``).
    """
    estimates = [
        (math.sqrt(_variance(side)), len(side) - 1.0) for side, enough in zip(means, many, strict=True) if enough
    ]
    known = estimates if noise is None else [*estimates, noise]
    return max(known, default=None)


def _logs(session: Sequence[float]) -> list[float]:
    if not all(0 < value < math.inf for value in session):
        raise ValueError(f"run values must be finite and positive, got {list(session)}")
    return [math.log(value) for value in session]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Return the unbiased variance; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf  # math.exp overflows at 709
