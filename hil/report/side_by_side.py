"""Compare the precisions of one model in a table: latency, rate, memory, size, accuracy loss and energy."""

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

ORDER = ("fp32", "tf32", "bf16", "fp16", "int8", "fp8", "int4", "fp4")
COMPARED = (
    ("latency.p50", "median latency"),
    ("latency.p99", "slow tail (p99)"),
    ("fps.sustained", "frames per second"),
    ("memory.peak", "peak memory"),
    ("memory.engine_size", "engine size"),
    ("parity.task", "task loss"),
    ("sequence.free_running", "error at the end of sequences"),
    ("energy.inference", "energy per inference"),
)


@dataclass(frozen=True)
class Cell:
    """The value of one precision: as text, as a ratio to the first precision's value (may be empty), and as a bar."""

    value: str
    ratio: str
    bar: Markup


@dataclass(frozen=True)
class Line:
    """One measurement in all precisions, in column order; ``None`` for a precision without it."""

    check: str
    title: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class PrecisionTable:
    """The table of one model, with a column per precision."""

    model: str
    precisions: tuple[str, ...]
    lines: tuple[Line, ...]


def tables(report: Report) -> list[PrecisionTable]:
    """Return a table for each model of which two or more precisions have the same kind of measurement."""
    measured = view.measured(report)
    tables = []
    for model in dict.fromkeys(model for model, _ in measured):
        precisions = tuple(name for name in ORDER if (model, name) in measured)
        lines = tuple(_lines([measured[model, name] for name in precisions]))
        if len(precisions) > 1 and lines:
            tables.append(PrecisionTable(model, precisions, lines))
    return tables


def _lines(sides: list[dict[str, Measurement]]) -> Iterator[Line]:
    for check, title in COMPARED:
        values = [side.get(check) for side in sides]
        present = [value for value in values if value is not None]
        if len(present) < 2 or len({value.unit for value in present}) > 1:
            continue
        most = max(*(value.value for value in present), 0.0) or 1.0
        yield Line(check, title, tuple(_cell(value, present[0], values[0], most) for value in values))


def _cell(value: Measurement | None, first: Measurement, reference: Measurement | None, most: float) -> Cell | None:
    if value is None:
        return None
    ratio = ""
    if reference is first and value is not first and value.unit != "1" and first.value > 0:
        times = value.value / first.value
        ratio = f"{times:.3g} ×" if math.isfinite(times) else ""
    bar = Markup(plots.share(value.value / most))  # noqa: S704 - numbers alone
    return Cell(show(value.value, value.unit), ratio, bar)
