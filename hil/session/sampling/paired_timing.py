"""Time two engines alternately, for a machine on which other processes always run."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.session.sampling.sampling import MAX_SAMPLES, conditions, feeds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.session.engine_context import EngineContext
    from hil.targets.engine_worker import EngineWorker

WINDOWS = 24
SECONDS = 0.005
"""Seconds of a window: less than a scheduler's time slice, so that most windows are not interrupted by another process.

On two processors under a load of ten, the ratio of an engine's p50 to itself had a standard deviation of 3 to 9 % over
6 windows of 20 ms, and of 0.5 to 2.5 % over 24 windows of 5 ms, which take the same time in total.
"""

WARMUP = 0.001
FEWEST = 30

Engine = tuple[str, str]
"""A model and its precision."""


@dataclass(frozen=True)
class Pair:
    """The times of two engines, each in a fresh process.

    Attributes:
        first: the median of the windows' p50 of the first engine, in seconds.
        second: the same of the second engine.
        ratio: the median of the ratios, second to first, of two consecutive windows.
    """

    first: float
    second: float
    ratio: float


def pairs(session: EngineContext, base: Engine, candidate: Engine, n: int, *, windows: int = WINDOWS) -> list[Pair]:
    """Return the times of ``base`` and ``candidate`` in ``n`` pairs of fresh processes.

    Every second pair times ``candidate`` first. In each result, ``first`` is ``base`` and ``second`` is ``candidate``.
    """
    results = []
    for number in range(n):
        if number % 2 == 0:
            results.append(pair(session, base, candidate, windows=windows))
        else:
            swapped = pair(session, candidate, base, windows=windows)
            results.append(Pair(swapped.second, swapped.first, 1 / swapped.ratio))
    return results


def pair(session: EngineContext, first: Engine, second: Engine, *, windows: int = WINDOWS) -> Pair:
    """Return the times of both engines, each in its own fresh process.

    Each engine is timed in ``windows`` short windows, in the order AB BA AB ….

    Errors of building, loading and timing are raised unchanged.
    """
    feeds = [feeds_of(session, model, session.model(model).batch) for model, _ in (first, second)]
    for engine in (first, second):
        session.engines.provisioned(*engine)  # build first: building heats the board
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(session.engines.fresh(*engine, more=more)) for engine, more in ((first, 1), (second, 0))
        ]
        stack.enter_context(conditions(session))
        for worker, fed in zip(workers, feeds, strict=True):
            _p50(worker, fed, session.config.spec.measure.warmup)
        p50s = [_window(workers, feeds, swapped=number % 2 == 1) for number in range(windows)]
    firsts, seconds = zip(*p50s, strict=True)
    ratio = statistics.median(after / before for before, after in p50s)
    return Pair(statistics.median(firsts), statistics.median(seconds), ratio)


def _window(
    workers: Sequence[EngineWorker], feeds: Sequence[Sequence[Mapping[str, Any]]], *, swapped: bool
) -> tuple[float, float]:
    """Time one window of each engine, the second engine first if ``swapped``.

    Return the p50 in seconds of the first engine and that of the second.
    """
    order = (1, 0) if swapped else (0, 1)
    p50 = {at: _p50(workers[at], feeds[at], WARMUP) for at in order}
    return p50[0], p50[1]


def _p50(worker: EngineWorker, feeds: Sequence[Mapping[str, Any]], warmup: float) -> float:
    timed = worker.time(feeds, warmup=warmup, seconds=SECONDS, min_samples=FEWEST, max_samples=MAX_SAMPLES)
    return float(statistics.median(timed.duration.tolist()))
