"""Computes the statistical power of a comparison of runs, and the number of runs needed, by numerical integration."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from hil.stats.runs import FEWEST, NOISE_DF, POWER

CAP = 30
"""The most runs per side that are recommended. If more are needed, reducing the board's noise is the better way."""

SPARE = 2
"""Runs per side added to the result of normal theory, since medians of recorded series have heavier tails. Without them
a rise of 5 % was detected in 98.2 % of simulated comparisons of such runs, instead of the computed 99.9 %
(``python -m benchmarks.verdicts``)."""

_NODES = 64  # integration points for each sample variance: the power is accurate to 0.001
_WIDEST = 10.0  # the largest relative change that is searched
_NOTHING = 1e-12  # a spread below this is rounding, and its powers underflow
_EXACT = 1e-4  # accuracy of a relative change


def power_of(  # noqa: PLR0913 - statistical power depends on all of them
    runs: int,
    relative_sd: float,
    effect: float,
    *,
    confidence: float = 0.99,
    above: float = 0.01,
    noise: float = 0.0,
    noise_df: float = NOISE_DF,
) -> float:
    """Return the probability that a comparison of ``runs`` runs per side detects a worsening by ``effect``, a fraction.

    A detected worsening is significant in Welch's test, and its estimate exceeds ``above`` (a fraction).
    ``relative_sd`` is the relative standard deviation between runs of one session, ``noise`` the one between sessions,
    with ``noise_df`` degrees of freedom. Each side is one session. Raise ``ValueError`` for fewer than two runs, a
    negative size, or a confidence that is not between 0 and 1.
    """
    from scipy.special import gammaincinv, ndtr, stdtrit  # 24 MiB that only planning needs

    if runs < 2 or not all(size >= 0 for size in (relative_sd, noise, effect, above)) or not 0 < confidence < 1:
        raise ValueError(
            f"{runs} runs, sd {relative_sd}, noise {noise}, effect {effect}, above {above}, confidence {confidence}: "
            "give two runs or more, no negative size, and a confidence between 0 and 1"
        )
    shift, least = math.log1p(effect), math.log1p(above)
    if max(relative_sd, noise) < _NOTHING:
        return float(shift > least)
    # The two sample variances are independent chi-squares. The result is the mean over a grid of their quantiles.
    df = runs - 1
    shares = (np.arange(_NODES) + 0.5) / _NODES
    own = relative_sd**2 / runs * 2 * gammaincinv(df / 2, shares) / df
    first, second, between = own[:, None], own[None, :], 2 * noise**2
    variance = first + second + between
    degrees = variance**2 / ((first**2 + second**2) / df + between**2 / noise_df)
    threshold = np.maximum(stdtrit(degrees, (1 + confidence) / 2) * np.sqrt(variance), least)
    return float(ndtr((shift - threshold) / math.sqrt(2 * relative_sd**2 / runs + between)).mean())


def runs_needed(  # noqa: PLR0913 - as for power_of
    relative_sd: float,
    effect: float,
    power: float = POWER,
    confidence: float = 0.99,
    cap: int = CAP,
    *,
    above: float = 0.01,
    noise: float = 0.0,
    noise_df: float = NOISE_DF,
) -> int | None:
    """Return how many runs per side detect a worsening by ``effect`` with probability ``power``, plus ``SPARE`` runs.

    The result is at most ``cap``; it is ``None`` if ``cap`` runs per side are not enough. Raise ``ValueError`` as
    ``power_of`` does.
    """
    settings = {"confidence": confidence, "above": above, "noise": noise, "noise_df": noise_df}
    runs = bisect_left(
        range(cap + 1), power, lo=FEWEST, key=lambda runs: power_of(runs, relative_sd, effect, **settings)
    )
    return None if runs > cap else min(runs + SPARE, cap)


def visible_effect(  # noqa: PLR0913 - as for power_of
    runs: int,
    relative_sd: float,
    *,
    power: float = POWER,
    confidence: float = 0.99,
    above: float = 0.01,
    noise: float = 0.0,
    noise_df: float = NOISE_DF,
) -> float:
    """Return the least worsening (a fraction) that ``runs`` per side detect with probability ``power``.

    The settings are those of ``power_of``. The result is infinite for fewer than five runs, or if even a worsening by
    1000 % would not be detected.
    """
    if runs < FEWEST:
        return math.inf
    low, high = 0.0, _WIDEST
    settings = {"confidence": confidence, "above": above, "noise": noise, "noise_df": noise_df}
    if power_of(runs, relative_sd, high, **settings) < power:
        return math.inf
    while high - low > _EXACT * (low + _EXACT):
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(runs, relative_sd, middle, **settings) >= power else (middle, high)
    return high
