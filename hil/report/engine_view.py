"""How engines read to people: where they ran, how they were built, what became of their layers, which are foreign."""

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
"""Facts of a build that are bytes."""


def work_text(work: ExecutedOn | None) -> str:
    """``NVIDIA H200, gpu, SM 9.0``, or a dash."""
    if work is None:
        return "–"
    return ", ".join([work.name, work.kind] + ([f"SM {work.sm}"] if work.sm else []))


def built(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a build recorded, one fact a line: ``calibration samples``, lists as words, bytes with their unit."""
    found: dict[str, Any] = {}
    for key, value in about.items():
        nested = isinstance(value, dict) and len(value) <= MOST_NAMES
        for inner, fact in value.items() if nested else [("", value)]:
            plain = isinstance(fact, list) and all(isinstance(each, (str, int, float)) for each in fact)
            shown = ", ".join(map(str, fact)) if plain else fact
            is_size = isinstance(fact, int) and (inner or key) in SIZES
            found[printable(f"{key} {inner}".strip())] = show(fact, "B") if is_size else _words(shown)
    return found


def _words(fact: Any) -> Any:
    """``fact`` with each text in it made safe: a runtime's warnings and a model's tensor names are others' words."""
    if isinstance(fact, dict):
        return {printable(str(key)): _words(value) for key, value in fact.items()}
    if isinstance(fact, list):
        return [_words(each) for each in fact]
    return printable(fact) if isinstance(fact, str) else fact


@dataclass(frozen=True)
class Layers:
    """The layers of one engine: device, precision, type and name of each that is listed, and how many there are."""

    rows: tuple[tuple[str, str, str, str], ...]
    count: int


def layers(report: Report, group: Group) -> Layers | None:
    """What the inspector told of the group's engine, from the first placement row that lists it."""
    ours = [row for row in report.measurements if (row.model, row.precision) == (group.model, group.precision)]
    told: list[CheckResult | Measured] = [*group.checks, *ours]
    for row in told:
        listed = row.details.get("layers") if row.id.startswith("placement.") else None
        found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        if found:
            count = row.details.get("count")
            most = count if isinstance(count, int) and count > len(found) else len(found)
            return Layers(tuple(_layer(each) for each in found), most)
    return None


def _layer(told: Mapping[str, Any]) -> tuple[str, str, str, str]:
    device, precision, kind, name = (
        printable(str(told.get(key) or "–")) for key in ("device", "precision", "type", "name")
    )
    return device, precision, kind, name


def foreign(report: Report) -> tuple[str, ...]:
    """The engines that were built elsewhere, by model and precision."""
    return tuple(f"{engine.model} {engine.precision}" for engine in report.engines if engine.foreign)


def foreign_text(report: Report) -> str:
    """One sentence that names the foreign engines; empty where there are none."""
    names = foreign(report)
    if not names:
        return ""
    engines = "engine" if len(names) == 1 else "engines"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"foreign {engines}, built elsewhere: {', '.join(names[:MOST_NAMES])}{more}"
