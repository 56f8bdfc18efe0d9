"""Simulated runs for comparisons: the distribution of samples within a run, and of differences between runs."""

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
"""Number of inferences in a run."""

WITHIN = 0.01
"""Relative standard deviation of a run's samples; of the bulk, if there is a tail."""

SWITCH, SLOW = 0.05, 0.05
"""Probability per sample of switching to the slow clock, and by how much that is slower (relative)."""

BACK = 0.2
"""Probability per slow sample of switching back: a fifth of all samples is slow, about five at a time."""

DRIFT = 0.02
"""Largest relative slowdown of a run from its first sample to its last."""

CHUNK = 2**22
"""Samples simulated at once: 32 MiB."""

RECORDED_SAMPLES = 4000
"""Inferences in a run of a trace: 0.2 s. The recorded machine was sometimes slow for 200 inferences in a row."""

POOL = 5000
"""Number of resampled runs of a trace from which runs are drawn; resampling each anew would take minutes."""


def gaussian(random: np.random.Generator, runs: int) -> FloatArray:
    """Return independent samples around 1, shape (runs, 200)."""
    return 1 + WITHIN * random.standard_normal((runs, SAMPLES))


def lognormal(random: np.random.Generator, runs: int) -> FloatArray:
    """Return samples with a long tail of slow ones, as timings have."""
    return 1 + WITHIN * np.asarray(np.exp(random.standard_normal((runs, SAMPLES))))


def ar1(lag: float) -> Callable[[np.random.Generator, int], FloatArray]:
    """Return a function that draws samples with correlation ``lag`` between neighbours."""

    def drawn(random: np.random.Generator, runs: int) -> FloatArray:
        steps = random.standard_normal((runs, SAMPLES)) * math.sqrt(1 - lag * lag)
        steps[:, 0] /= math.sqrt(1 - lag * lag)
        return 1 + WITHIN * np.asarray(lfilter([1.0], [1.0, -lag], steps, axis=1))

    return drawn


def two_clocks(random: np.random.Generator, runs: int) -> FloatArray:
    """Return samples of a clock that is slow for some samples now and then."""
    chances = random.random((runs, SAMPLES))
    slow = np.empty((runs, SAMPLES), dtype=bool)
    slow[:, 0] = chances[:, 0] < SWITCH / (SWITCH + BACK)
    for at in range(1, SAMPLES):
        slow[:, at] = np.where(slow[:, at - 1], chances[:, at] >= BACK, chances[:, at] < SWITCH)
    return gaussian(random, runs) * (1 + SLOW * slow)


def drifting(random: np.random.Generator, runs: int) -> FloatArray:
    """Return samples that become slower over the run, by a random amount per run."""
    pace = DRIFT * random.random((runs, 1))
    return gaussian(random, runs) * (1 + pace * np.linspace(0, 1, SAMPLES))


def recorded(name: str) -> Callable[[np.random.Generator, int], FloatArray]:
    """Return a function that draws runs of a trace in blocks, which keep its correlation."""
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
"""Distributions of samples within a run."""

BETWEEN: dict[str, Callable[[np.random.Generator, tuple[int, ...]], FloatArray]] = {
    "Gaussian": lambda random, shape: random.standard_normal(shape),
    "log-normal": lambda random, shape: np.asarray(
        (np.exp(random.standard_normal(shape)) - math.exp(0.5)) / math.sqrt(math.e * (math.e - 1))
    ),
    "one of two": lambda random, shape: np.asarray(random.choice([-1.0, 1.0], shape)),
}
"""Distributions of differences between runs, with standard deviation 1: normal, with a slow tail, or two levels."""


def values(  # noqa: PLR0913 - what a simulated side is, named at each call
    random: np.random.Generator,
    model: str,
    shape: tuple[int, ...],
    *,
    sd: float,
    between: str = "Gaussian",
    statistic: Callable[[FloatArray], FloatArray] | None = None,
) -> FloatArray:
    """Return the run values of ``shape`` fresh processes that differ by ``sd``; by default each run's median.

    ``statistic`` maps samples, shape (runs, n), to values, shape (runs, …), which follow ``shape`` in the result.
    """
    reduce = statistic or _medians
    runs = math.prod(shape)
    if model in RECORDED:
        samples = _pool(model, reduce)[random.integers(0, POOL, runs)]
    else:
        samples = _simulated(random, model, runs, reduce)
    level = np.exp(sd * BETWEEN[between](random, (runs,))).reshape(runs, *(1,) * (samples.ndim - 1))
    return np.asarray((samples * level).reshape(*shape, *samples.shape[1:]))


def _medians(samples: FloatArray) -> FloatArray:
    return np.asarray(np.median(samples, axis=1))


@cache
def _pool(model: str, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
    return _simulated(np.random.default_rng(crc32(model.encode())), model, POOL, statistic)


def _simulated(
    random: np.random.Generator, model: str, runs: int, statistic: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    size = CHUNK // (RECORDED_SAMPLES if model in RECORDED else SAMPLES)
    return np.concatenate([statistic(MODELS[model](random, min(size, runs - done))) for done in range(0, runs, size)])
