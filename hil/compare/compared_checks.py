"""State which checks a comparison judges, how each is compared, and whether lower or higher values are better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hil.catalogue import CATALOGUE
from hil.results import Sense


class Scale(str, Enum):
    """How two values are compared.

    Attributes:
        RATIO: noisy positive values, statistically over several runs.
        EXACT: values without noise, by their ratio.
        LOSS: fractions lost on the same data, by their difference.
        TOLD: only shown, not compared.
    """

    RATIO = "ratio"
    EXACT = "exact"
    LOSS = "loss"
    TOLD = "told"


@dataclass(frozen=True)
class Measure:
    """How one check is compared.

    Attributes:
        sense: the better direction; ``None``: unknown, so that any change is ``unclear``.
        needs_method: whether both sides must have the same method.
    """

    title: str
    sense: Sense | None
    scale: Scale
    needs_method: bool = True


_LESS, _MORE = Sense.AT_MOST, Sense.AT_LEAST

MEASURES: dict[str, Measure] = {
    "parity.task": Measure("task loss", _LESS, Scale.LOSS),
    "int8.drop": Measure("loss to INT8", _LESS, Scale.LOSS),
    "sequence.free_running": Measure("sequence error", _LESS, Scale.LOSS),
    "latency.p50": Measure("p50", _LESS, Scale.RATIO),
    "latency.p90": Measure("p90", _LESS, Scale.RATIO),
    "latency.p99": Measure("p99", _LESS, Scale.RATIO),
    "fps.sustained": Measure("FPS", _MORE, Scale.RATIO),
    "memory.peak": Measure("memory", _LESS, Scale.RATIO),
    "energy.inference": Measure("energy", _LESS, Scale.RATIO),
    "memory.engine_size": Measure("engine size", _LESS, Scale.EXACT),
    "build.seconds": Measure("build time", _LESS, Scale.RATIO, needs_method=False),
    "latency.cold_load": Measure("cold load", _LESS, Scale.RATIO),
    "latency.first_inference": Measure("first run", _LESS, Scale.RATIO),
    "paced.response_p99": Measure("paced p99", _LESS, Scale.RATIO),
    "sustained.p99": Measure("sustained p99", _LESS, Scale.RATIO),
    "sustained.fps": Measure("sustained FPS", _MORE, Scale.RATIO),
}
"""The compared checks, in the order of tables."""

DERIVED = ("regression.", "parity.score")
"""Beginnings of the ids of checks that are computed from other rows. Those other rows are compared instead."""


def measure_of(check: str) -> Measure:
    """Return how ``check`` is compared.

    A stock check that is not in ``MEASURES`` is only shown. A user's own check is compared as a ratio without a better
    direction.
    """
    if check in MEASURES:
        return MEASURES[check]
    if check in CATALOGUE or check.startswith(DERIVED):
        return Measure(check, None, Scale.TOLD)
    return Measure(check, None, Scale.RATIO)


def order(check: str) -> tuple[int, str]:
    """Return a sort key of a check: the checks of ``MEASURES`` come first, in their order."""
    names = list(MEASURES)
    return (names.index(check) if check in MEASURES else len(names), check)
