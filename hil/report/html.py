"""``report.html``: one self-contained file; no script, no network, light and dark, print and screen reader."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from hil.model import Verdict
from hil.report import engine_view, plots, view
from hil.report.text import printable
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import Report

OPEN_GROUPS = 6
"""Up to this many groups all stand open; beyond, only those with something to see."""
MOST_COUNTED = 10**15
COMPARED = ("latency.p50", "latency.p99", "fps.sustained", "memory.peak", "memory.engine_size", "parity.task")
STANDFIRST = {
    "PASSED": "Everything that the policy requires was run and passed.",
    "WARNED": "Everything that the policy requires was run. There are warnings, and the policy allows them.",
    "FAILED": "What the policy requires is not met.",
    "INCOMPLETE": "The run did not finish: nothing may be concluded from it.",
}


@dataclass(frozen=True)
class Compared:
    """One check of a model in INT8 beside the same one in FP32; ``ratio`` is FP32 over INT8."""

    check: str
    fp32: str
    int8: str
    ratio: str
    plot: Markup


def render(report: Report) -> str:
    """The whole page."""
    return _template().render(
        report=report,
        view=view,
        engine_view=engine_view,
        word=view.headline(report),
        standfirst=STANDFIRST[view.headline(report)],
        style=Markup(_asset("style.css")),  # noqa: S704 - our own file
        groups=view.groups(report),
        families=view.families(report),
        troubles=view.troubles(report),
        comparisons=dict(_comparisons(report)),
        histograms=_histograms(report),
        open_groups=OPEN_GROUPS,
        took=_took(report),
        verdicts=tuple(Verdict),
        show=show,
        pretty=_pretty,
        printable=printable,
        mixed=len({check.evidence for check in report.checks if check.evidence}) > 1,
        limit_bar=lambda check, ident: Markup(plots.limit_bar(check, ident)),  # noqa: S704 - escapes what it draws
        totals_bar=Markup(plots.totals_bar(report.totals)),  # noqa: S704 - numbers and our words
        passed=Verdict.PASSED,
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2"))


def _asset(name: str) -> str:
    return files("hil.report").joinpath(name).read_text(encoding="utf-8")


def _comparisons(report: Report) -> Iterator[tuple[str, list[Compared]]]:
    rows = {(check.model, check.precision, check.id): check for check in report.checks}
    told = {(row.model, row.precision, row.id): row for row in report.measurements}
    number = 0
    for model in dict.fromkeys(check.model for check in report.checks):
        found = []
        for name in COMPARED:
            sides = [rows.get((model, side, name)) or told.get((model, side, name)) for side in ("fp32", "int8")]
            taken = [side.measurement for side in sides if side is not None and side.measurement is not None]
            if len(taken) < len(sides) or taken[0].unit != taken[1].unit:
                continue
            number += 1
            found.append(_compared(name, taken[0].value, taken[1].value, taken[0].unit, f"pair-{number}"))
        if found:
            yield model, found


def _compared(name: str, fp32: float, int8: float, unit: str, ident: str) -> Compared:
    words = (f"{name}: FP32 {show(fp32, unit)}, INT8 {show(int8, unit)}", "upper bar FP32, lower bar INT8")
    ratio = f"{fp32 / int8:.3g} ×" if int8 and math.isfinite(fp32 / int8) else "–"
    plot = Markup(plots.pair(fp32, int8, ident, words))  # noqa: S704 - escapes what it draws
    return Compared(name, show(fp32, unit), show(int8, unit), ratio, plot)


def _histograms(report: Report) -> dict[tuple[str, str], Markup]:
    found: dict[tuple[str, str], Markup] = {}
    for number, check in enumerate(report.checks):
        numbers = _counts(check.details.get("histogram"))
        key = (check.model, check.precision)
        if numbers is not None and (key not in found or check.id == "latency.p99"):
            drawn = plots.histogram(*numbers, check.limit, f"histogram-{number}", check.name)
            found[key] = Markup(drawn)  # noqa: S704 - escapes what it draws
    return found


def _counts(value: object) -> tuple[list[float], list[float]] | None:
    """``{"edges": [n + 1 rising numbers], "counts": [n numbers]}``; anything else is no histogram."""
    if not isinstance(value, dict):
        return None
    edges, counts = value.get("edges"), value.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list) or not counts or len(edges) != len(counts) + 1:
        return None
    if not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in (*edges, *counts)):
        return None
    rising = all(left < right for left, right in itertools.pairwise(edges))
    return (edges, counts) if rising and min(counts) >= 0 and max(counts) <= MOST_COUNTED else None


def _took(report: Report) -> str:
    try:
        start, end = (datetime.fromisoformat(at) for at in (report.run.started, report.run.finished or ""))
        return show((end - start).total_seconds(), "s")
    except (ValueError, TypeError):
        return "–"


def _pretty(facts: Any) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False)
