"""The precisions of one model beside each other: what each gains in time and memory, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from hil.report import plots, view
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import Report
    from hil.results import Measurement

ORDER = ("fp32", "tf32", "bf16", "fp16", "int8")
COMPARED = (
    ("latency.p50", "median latency"),
    ("latency.p99", "slow tail (p99)"),
    ("fps.sustained", "frames a second"),
    ("memory.peak", "memory at its peak"),
    ("memory.engine_size", "size of the engine"),
    ("parity.task", "loss at the task"),
    ("energy.inference", "energy an inference"),
)


@dataclass(frozen=True)
class Cell:
    """One precision's value, against the first precision's, and as a bar."""

    value: str
    ratio: str
    bar: Markup


@dataclass(frozen=True)
class Line:
    """One measurement in all precisions, in the order of the columns."""

    check: str
    title: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Beside:
    """One model's table."""

    model: str
    precisions: tuple[str, ...]
    lines: tuple[Line, ...]


def tables(report: Report) -> list[Beside]:
    """A table for each model of which two precisions or more were measured alike."""
    found = view.measured(report)
    tables = []
    for model in dict.fromkeys(model for model, _ in found):
        precisions = tuple(name for name in ORDER if (model, name) in found)
        lines = tuple(_lines([found[model, name] for name in precisions]))
        if len(precisions) > 1 and lines:
            tables.append(Beside(model, precisions, lines))
    return tables


def _lines(sides: list[dict[str, Measurement]]) -> Iterator[Line]:
    for check, title in COMPARED:
        values = [side.get(check) for side in sides]
        taken = [value for value in values if value is not None]
        if len(taken) < 2 or len({value.unit for value in taken}) > 1:
            continue
        most = max(*(value.value for value in taken), 0.0) or 1.0
        yield Line(check, title, tuple(_cell(value, taken[0], values[0], most) for value in values))


def _cell(seen: Measurement | None, first: Measurement, reference: Measurement | None, most: float) -> Cell | None:
    if seen is None:
        return None
    ratio = ""
    if reference is first and seen is not first and seen.unit != "1" and first.value > 0:
        times = seen.value / first.value
        ratio = f"{times:.3g} ×" if math.isfinite(times) else ""
    bar = Markup(plots.share(seen.value / most))  # noqa: S704 - numbers alone
    return Cell(show(seen.value, seen.unit), ratio, bar)
