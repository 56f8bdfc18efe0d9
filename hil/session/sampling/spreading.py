"""Spread the runs of a model's engines over a longer time, so that they do not share one moment of the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hil.errors import EngineError, WorkerLost
from hil.session.memo import LASTING
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.session.engine_context import EngineContext


def spread(session: EngineContext, model: str, precision: str, n: int, measure: Callable[[str, int], object]) -> None:
    """Make runs 1 to ``n`` of ``model`` in ``precision`` and in each other precision that the session needs.

    ``measure(precision, number)`` makes one run. The runs are spread over ``session.over`` seconds: every engine makes
    its first run, then every engine its second, and so on. An engine whose run fails makes no further runs.
    """
    precisions = list(dict.fromkeys([precision, *session.engines.needed(model)]))
    began = time.monotonic()
    last = session.over  # seconds after the beginning at which the last run begins
    for number in range(1, n + 1):
        if not precisions:
            return
        if number > 1:
            _wait(session, began + last * (number - 1) / (n - 1), f"{model}: waiting before run {number} of {n}")
        for each in tuple(precisions):
            try:
                measure(each, number)
            except (*LASTING, EngineError, WorkerLost):  # noqa: PERF203 - a run takes seconds
                precisions.remove(each)
        if number == 1:
            took = time.monotonic() - began
            last -= took
            if last < took * (n - 1):
                over = show(session.over, "s")
                session.progress(
                    f"{model}: {n} runs take longer than --hil-over, {over}: they follow each other without waiting"
                )


def _wait(session: EngineContext, until: float, text: str) -> None:
    left = until - time.monotonic()
    if left > 0:
        session.engines.close()
        with session.progress.step(text, seconds=left):
            time.sleep(left)
