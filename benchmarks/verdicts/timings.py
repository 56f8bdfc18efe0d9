"""Simulated runs for comparisons: what their samples do within a run, and what differs between runs."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from benchmarks.verdicts import noise

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = npt.NDArray[np.float64]

SAMPLES = 200
"""Inferences of one run."""

WITHIN = 0.01
"""Relative standard deviation of a run's samples, or of their bulk."""

SWITCH, SLOW = 0.05, 0.05
"""Of two clocks: the share of samples at which the slow one begins, and by how much it is slower."""

BACK = 0.2
"""The share of slow samples at which the fast clock comes back: a fifth of all samples is slow, five at a time."""

DRIFT = 0.02
"""By how much a run becomes slower from its first sample to its last."""

CHUNK = 2**22
"""Samples simulated at once: 32 MiB."""

RECORDED_SAMPLES = 4000
"""Inferences of one run of a trace: 0.2 s. The traces' machine was slow for 200 in a row now and then."""

POOL = 5000
"""Runs of a trace that are made, and then drawn from: resampling each anew would take minutes and tell the same."""


def gaussian(random: np.random.Generator, runs: int) -> FloatArray:
    """Independent samples, shape (runs, 200), around 1."""
    return 1 + WITHIN * random.standard_normal((runs, SAMPLES))


def lognormal(random: np.random.Generator, runs: int) -> FloatArray:
    """A long tail to the slow side, as timings have."""
    return 1 + WITHIN * np.asarray(np.exp(random.standard_normal((runs, SAMPLES))))


def ar1(lag: float) -> Callable[[np.random.Generator, int], FloatArray]:
    """Correlated samples: each contains ``lag`` of the one before it."""

    def drawn(random: np.random.Generator, runs: int) -> FloatArray:
        steps = random.standard_normal((runs, SAMPLES)) * math.sqrt(1 - lag * lag)
        steps[:, 0] /= math.sqrt(1 - lag * lag)
        return 1 + WITHIN * np.asarray(lfilter([1.0], [1.0, -lag], steps, axis=1))

    return drawn


def two_clocks(random: np.random.Generator, runs: int) -> FloatArray:
    """A clock that goes down for some samples now and then."""
    chances = random.random((runs, SAMPLES))
    slow = np.empty((runs, SAMPLES), dtype=bool)
    slow[:, 0] = chances[:, 0] < SWITCH / (SWITCH + BACK)
    for at in range(1, SAMPLES):
        slow[:, at] = np.where(slow[:, at - 1], chances[:, at] >= BACK, chances[:, at] < SWITCH)
    return gaussian(random, runs) * (1 + SLOW * slow)


def drifting(random: np.random.Generator, runs: int) -> FloatArray:
    """Samples that become slower over the run, at a pace of each run's own."""
    pace = DRIFT * random.random((runs, 1))
    return gaussian(random, runs) * (1 + pace * np.linspace(0, 1, SAMPLES))


def recorded(name: str) -> Callable[[np.random.Generator, int], FloatArray]:
    """Runs of a trace, resampled by blocks, so that they keep the correlation within one process of a bundled model."""
    return lambda random, runs: noise.resampled(name, random, runs, RECORDED_SAMPLES)


RECORDED = {f"trace {name}": recorded(name) for name in noise.RECORDED}
MODELS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "Gaussian": gaussian,
    "log-normal tail": lognormal,
    "AR(1) 0.5": ar1(0.5),
    "AR(1) 0.9": ar1(0.9),
    "two clocks": two_clocks,
    "slow drift": drifting,
    **RECORDED,
}
"""What the samples of a run do."""

BETWEEN: dict[str, Callable[[np.random.Generator, tuple[int, ...]], FloatArray]] = {
    "Gaussian": lambda random, shape: random.standard_normal(shape),
    "log-normal": lambda random, shape: np.asarray(
        (np.exp(random.standard_normal(shape)) - math.exp(0.5)) / math.sqrt(math.e * (math.e - 1))
    ),
    "one of two": lambda random, shape: np.asarray(random.choice([-1.0, 1.0], shape)),
}
"""How runs differ, at a standard deviation of 1: as a crowd, with some far slower, or as of two memory layouts."""


def values(  # noqa: PLR0913 - what a simulated side is, named at each call
    random: np.random.Generator,
    model: str,
    shape: tuple[int, ...],
    *,
    sd: float,
    between: str = "Gaussian",
    statistic: Callable[[FloatArray], FloatArray] | None = None,
) -> FloatArray:
    """The run values of ``shape`` fresh processes that differ by ``sd``: by default each one's median.

    ``statistic`` takes samples, shape (runs, n), to values, shape (runs, …), which are put behind ``shape``.
    """
    taken = statistic or _medians
    runs = math.prod(shape)
    if model in RECORDED:
        found = _pool(model, taken)[random.integers(0, POOL, runs)]
    else:
        found = _taken(random, model, runs, taken)
    level = np.exp(sd * BETWEEN[between](random, (runs,))).reshape(runs, *(1,) * (found.ndim - 1))
    return np.asarray((found * level).reshape(*shape, *found.shape[1:]))


def _medians(samples: FloatArray) -> FloatArray:
    return np.asarray(np.median(samples, axis=1))


@cache
def _pool(model: str, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
    return _taken(np.random.default_rng(crc32(model.encode())), model, POOL, statistic)


def _taken(
    random: np.random.Generator, model: str, runs: int, statistic: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    size = CHUNK // (RECORDED_SAMPLES if model in RECORDED else SAMPLES)
    return np.concatenate([statistic(MODELS[model](random, min(size, runs - done))) for done in range(0, runs, size)])
