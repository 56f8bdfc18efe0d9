"""What a comparison of runs can see, and how many runs it takes to see it; by numbers, not by approximation."""

from __future__ import annotations

import math

import numpy as np

from hil.stats.runs import FEWEST, NOISE_DF, POWER

CAP = 30
"""Runs a side that a planner asks for at most: what needs more is better sought by a quieter board."""

SPARE = 2
"""Runs a side beyond what normal theory asks: medians of recorded series have heavier tails. Without them +5 % was
found in 98.2 % of simulated comparisons of such runs, 99.9 % were promised (``python -m benchmarks.verdicts``)."""

_NODES = 64  # of each sample variance's distribution: power to within 0.001
_WIDEST = 10.0  # a change by more than that factor is none that a planner is asked for
_NOTHING = 1e-12  # a spread under that of rounding, whose powers underflow
_EXACT = 1e-4  # of a relative change


def power_of(  # noqa: PLR0913 - what power depends on, each named at the call
    runs: int,
    relative_sd: float,
    effect: float,
    *,
    confidence: float = 0.99,
    above: float = 0.01,
    noise: float = 0.0,
) -> float:
    """The chance that ``runs`` a side find a worsening by ``effect``: significant, and seen beyond ``above``.

    ``relative_sd`` is the standard deviation between runs of one session, ``noise`` between sessions (one a side). The
    two sample variances, independent chi-squares, are integrated over by equal shares of each, since Welch's degrees of
    freedom and critical value follow from them; the estimate is normal given them, as means of logarithms of normal
    values are. Raises ``ValueError`` for fewer than two runs or a negative size.
    """
    from scipy.special import gammaincinv, ndtr, stdtrit  # 24 MiB that only planning needs

    if runs < 2 or not all(one >= 0 for one in (relative_sd, noise, effect, above)) or not 0 < confidence < 1:
        raise ValueError(
            f"{runs} runs, sd {relative_sd}, noise {noise}, effect {effect}: two runs and sizes are wanted"
        )
    shift, least = math.log1p(effect), math.log1p(above)
    if max(relative_sd, noise) < _NOTHING:
        return float(shift > least)
    df = runs - 1
    shares = (np.arange(_NODES) + 0.5) / _NODES
    own = relative_sd**2 / runs * 2 * gammaincinv(df / 2, shares) / df
    first, second, between = own[:, None], own[None, :], 2 * noise**2
    variance = first + second + between
    freedom = variance**2 / ((first**2 + second**2) / df + between**2 / NOISE_DF)
    wanted = np.maximum(stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(variance), least)
    return float(ndtr((shift - wanted) / math.sqrt(2 * relative_sd**2 / runs + between)).mean())


def runs_needed(  # noqa: PLR0913 - as above
    relative_sd: float,
    effect: float,
    power: float = POWER,
    confidence: float = 0.99,
    cap: int = CAP,
    *,
    above: float = 0.01,
    noise: float = 0.0,
) -> int | None:
    """The fewest runs a side that find a worsening by ``effect`` with ``power``, and ``SPARE``; None if not ``cap``."""
    for runs in range(FEWEST, cap + 1):
        if power_of(runs, relative_sd, effect, confidence=confidence, above=above, noise=noise) >= power:
            return min(runs + SPARE, cap)
    return None


def visible_effect(  # noqa: PLR0913 - as above
    runs: int,
    relative_sd: float,
    *,
    power: float = POWER,
    confidence: float = 0.99,
    above: float = 0.01,
    noise: float = 0.0,
) -> float:
    """The least worsening that ``runs`` a side find with ``power``; infinite for fewer than five runs."""
    if runs < FEWEST:
        return math.inf
    low, high = 0.0, _WIDEST
    settings = {"confidence": confidence, "above": above, "noise": noise}
    if power_of(runs, relative_sd, high, **settings) < power:
        return math.inf
    while high - low > _EXACT * (low + _EXACT):
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(runs, relative_sd, middle, **settings) >= power else (middle, high)
    return high
