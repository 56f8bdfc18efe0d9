"""Latencies with a known percentile: six kinds of noise, and recorded traces resampled in blocks.

All have a median or mean near 1 and are stationary; each row of a draw is a separate series.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], FloatArray]

SPREAD = 0.1
"""Standard deviation of the Gaussian models, relative to their mean: four times 2 % of their 99th percentile."""

TAIL, SHARE = 0.8, 0.1
"""The log-normal tail's sigma of the logarithm, and its share of the median; p99 is 1.5 times the median."""

DWELL = (70.0, 30.0)
"""Mean number of samples for which the fast and the slow clock last.

No rule can detect a clock that switches less than once per series.
"""

SLOWER, JITTER = 1.25, 0.03
"""The time per inference with the slow clock relative to the fast one, and the noise with either."""

BLOCK = 50
"""Samples of a trace that stay together. Longer blocks preserve more of its correlation, but there are fewer of them.
"""

TRACES = Path(__file__).parent / "traces"
RECORDED = ("arm-fp32", "arm-int8", "digits-fp32", "digits-int8")


@dataclass(frozen=True)
class Noise:
    """A model of latencies: ``draw`` returns series, shape (rows, n), and ``quantile`` the true quantile."""

    name: str
    draw: Draw
    quantile: Callable[[float], float]
    independent: bool = False


def gaussian(random: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Return independent, symmetric latencies."""
    return 1 + SPREAD * random.standard_normal((rows, n))


def log_normal(random: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Return independent latencies with a minimum and a long tail."""
    return 1 - SHARE + SHARE * np.exp(TAIL * random.standard_normal((rows, n)))


def autoregressive(rho: float, random: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Return Gaussian latencies with correlation ``rho`` between neighbours."""
    from scipy.signal import lfilter

    shocks = random.standard_normal((rows, n)) * math.sqrt(1 - rho**2)
    shocks[:, 0] /= math.sqrt(1 - rho**2)
    return np.asarray(1 + SPREAD * lfilter([1.0], [1.0, -rho], shocks, axis=1), dtype=np.float64)


def clocks(random: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Return latencies with two clock speeds that switch at random, and little noise with either."""
    leave = 1 / np.array(DWELL)
    state = random.random(rows) < DWELL[1] / sum(DWELL)
    slow = np.empty((rows, n), dtype=np.bool_)
    for at in range(n):
        slow[:, at] = state
        state ^= random.random(rows) < leave[state.astype(np.intp)]
    return np.where(slow, SLOWER, 1.0) * (1 + JITTER * random.standard_normal((rows, n)))


def _clocks_quantile(q: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import ndtr

    share = DWELL[1] / sum(DWELL)

    def over(x: float) -> float:
        return float((1 - share) * ndtr((x - 1) / JITTER) + share * ndtr((x / SLOWER - 1) / JITTER)) - q

    return float(brentq(over, 0.5, 2.0))


def _normal_quantile(q: float) -> float:
    from scipy.special import ndtri

    return float(1 + SPREAD * ndtri(q))


def _log_normal_quantile(q: float) -> float:
    return 1 - SHARE + SHARE * math.exp(TAIL * (_normal_quantile(q) - 1) / SPREAD)


@cache
def trace(name: str) -> FloatArray:
    """Return a recorded series, divided by its median."""
    with np.load(TRACES / f"{name}.npz") as file:
        recorded = file["nanoseconds"].astype(np.float64)
    return np.asarray(recorded / np.median(recorded), dtype=np.float64)


def resampled(name: str, random: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Return blocks of a trace in random order, with the trace as a circle (Politis and Romano 1992).

    Its quantile is that of the trace.
    """
    recorded = trace(name)
    count = n // BLOCK + 2
    starts = random.integers(0, recorded.size, (rows, count, 1))
    drawn = recorded[(starts + np.arange(BLOCK)) % recorded.size].reshape(rows, -1)
    shift = int(random.integers(BLOCK))
    return np.asarray(drawn[:, shift : shift + n], dtype=np.float64)


def _trace_quantile(name: str, q: float) -> float:
    return float(np.quantile(trace(name), q, method="inverted_cdf"))


MODELS = (
    Noise("Gaussian", gaussian, _normal_quantile, independent=True),
    Noise("log-normal tail", log_normal, _log_normal_quantile, independent=True),
    Noise("AR(1) 0.5", partial(autoregressive, 0.5), _normal_quantile),
    Noise("AR(1) 0.9", partial(autoregressive, 0.9), _normal_quantile),
    Noise("bimodal clocks", clocks, _clocks_quantile),
    *(Noise(f"trace {name}", partial(resampled, name), partial(_trace_quantile, name)) for name in RECORDED),
)
