"""Compose the text about engines in a report: where they ran, how they were built, and how their layers run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.report.shown_text import printable
from hil.report.view import MOST_NAMES, Group
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.report.schema import Measured, Report
    from hil.results import CheckResult, ExecutedOn

SIZES = frozenset({"workspace", "rss", "device", "device_memory_size"})
"""Keys of build facts whose values are numbers of bytes."""


def work_text(work: ExecutedOn | None) -> str:
    """Return the processor as text, such as ``NVIDIA H200, gpu, SM 9.0``; a dash for ``None``."""
    if work is None:
        return "–"
    return ", ".join([work.name, work.kind] + ([f"SM {work.sm}"] if work.sm else []))


def build_facts(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded facts of a build as a flat table for display.

    A nested table becomes keys such as ``calibration samples``, unless it has more than ``MOST_NAMES`` entries. A list
    of plain values becomes comma-separated text. A number of bytes gets its unit.
    """
    facts: dict[str, Any] = {}
    for key, value in about.items():
        nested = isinstance(value, dict) and len(value) <= MOST_NAMES
        for inner, fact in value.items() if nested else [("", value)]:
            plain = isinstance(fact, list) and all(isinstance(each, (str, int, float)) for each in fact)
            shown = ", ".join(map(str, fact)) if plain else fact
            is_size = isinstance(fact, int) and (inner or key) in SIZES
            facts[printable(f"{key} {inner}".strip())] = show(fact, "B") if is_size else _printable_texts(shown)
    return facts


def _printable_texts(fact: Any) -> Any:
    """Return ``fact`` with control characters escaped in all its texts, which come from runtimes and models."""
    if isinstance(fact, dict):
        return {printable(str(key)): _printable_texts(value) for key, value in fact.items()}
    if isinstance(fact, list):
        return [_printable_texts(each) for each in fact]
    return printable(fact) if isinstance(fact, str) else fact


@dataclass(frozen=True)
class Layers:
    """The layers of one engine. ``rows`` are device, precision, type and name of each listed layer.

    ``count`` is how many layers the engine has; the report may list fewer.
    """

    rows: tuple[tuple[str, str, str, str], ...]
    count: int


def layers(report: Report, group: Group) -> Layers | None:
    """Return the layers of the group's engine, from the first placement row that lists any; ``None`` if no row does."""
    ours = [row for row in report.measurements if (row.model, row.precision) == (group.model, group.precision)]
    rows: list[CheckResult | Measured] = [*group.checks, *ours]
    for row in rows:
        listed = row.details.get("layers") if row.id.startswith("placement.") else None
        tables = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        if tables:
            count = row.details.get("count")
            total = count if isinstance(count, int) and count > len(tables) else len(tables)
            return Layers(tuple(_layer(each) for each in tables), total)
    return None


def _layer(table: Mapping[str, Any]) -> tuple[str, str, str, str]:
    device, precision, kind, name = (
        printable(str(table.get(key) or "–")) for key in ("device", "precision", "type", "name")
    )
    return device, precision, kind, name


def foreign(report: Report) -> tuple[str, ...]:
    """Return the names (model and precision) of the engines that were built elsewhere."""
    return tuple(f"{engine.model} {engine.precision}" for engine in report.engines if engine.foreign)


def foreign_text(report: Report) -> str:
    """Return one line that names the engines that were built elsewhere; empty if there are none."""
    names = foreign(report)
    if not names:
        return ""
    engines = "engine" if len(names) == 1 else "engines"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"foreign {engines}, built elsewhere: {', '.join(names[:MOST_NAMES])}{more}"
