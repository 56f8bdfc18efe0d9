"""Which checks a comparison judges, how each is compared and which way is good."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hil.catalogue import CATALOGUE
from hil.results import Sense


class Scale(str, Enum):
    """How two values are held against each other.

    ``RATIO``: noisy and positive, by runs. ``EXACT``: as many bytes as there are, by their ratio. ``LOSS``: a fraction
    lost on the same data, by the difference. ``TOLD``: side by side, without a verdict.
    """

    RATIO = "ratio"
    EXACT = "exact"
    LOSS = "loss"
    TOLD = "told"


@dataclass(frozen=True)
class Measure:
    """How one check is compared. ``sense`` is ``None`` where nobody knows which way is good: any change is open."""

    title: str
    sense: Sense | None
    scale: Scale
    counts: bool = True
    needs_method: bool = True


_LESS, _MORE = Sense.AT_MOST, Sense.AT_LEAST

MEASURES: dict[str, Measure] = {
    "parity.task": Measure("task loss", _LESS, Scale.LOSS),
    "int8.drop": Measure("loss to INT8", _LESS, Scale.LOSS),
    "latency.p50": Measure("p50", _LESS, Scale.RATIO),
    "latency.p90": Measure("p90", _LESS, Scale.RATIO),
    "latency.p99": Measure("p99", _LESS, Scale.RATIO),
    "fps.sustained": Measure("FPS", _MORE, Scale.RATIO),
    "memory.peak": Measure("memory", _LESS, Scale.RATIO),
    "energy.inference": Measure("energy", _LESS, Scale.RATIO),
    "memory.engine_size": Measure("engine size", _LESS, Scale.EXACT),
    "build.seconds": Measure("build time", _LESS, Scale.RATIO, counts=False, needs_method=False),
    "latency.cold_load": Measure("cold load", _LESS, Scale.RATIO),
    "latency.first_inference": Measure("first run", _LESS, Scale.RATIO),
    "paced.response_p99": Measure("paced p99", _LESS, Scale.RATIO),
    "sustained.p99": Measure("sustained p99", _LESS, Scale.RATIO),
    "sustained.fps": Measure("sustained FPS", _MORE, Scale.RATIO),
}
"""In the order in which a reader looks for them. A build's time is judged and shown but does not count: an engine out
of a cache has none, and no robot waits for it."""

DERIVED = ("regression.", "parity.score")
"""Made of other rows, which are compared themselves."""


def measure_of(check: str) -> Measure:
    """How ``check`` is compared.

    The stock checks that are not in ``MEASURES`` are held against limits within each run and only told here; a user's
    own check is compared by runs, with no side of it good.
    """
    if check in MEASURES:
        return MEASURES[check]
    if check in CATALOGUE or check.startswith(DERIVED):
        return Measure(check, None, Scale.TOLD, counts=False)
    return Measure(check, None, Scale.RATIO)


def order(check: str) -> tuple[int, str]:
    """A key to sort checks by: those of ``MEASURES`` first, in their order."""
    names = list(MEASURES)
    return (names.index(check) if check in MEASURES else len(names), check)
