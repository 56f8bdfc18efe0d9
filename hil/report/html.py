"""``report.html``: one self-contained file; no script, no network, light and dark, print and screen reader."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from hil.report import engine_view, plots, select_plots, side_by_side, view
from hil.report.certainty import sureness
from hil.report.shown_text import printable
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from pathlib import Path

    from hil.report.schema import Report

OPEN_GROUPS = 6
"""Up to this many groups all stand open; beyond, only those with something to see."""
MOST_OPEN = 12
"""Of a large report's groups with something to see: all open at once would be a wall again."""
BINS = (200, 30)
"""Stretches of a picture's line: of a small report, and of one with more than ``MOST_OPEN`` groups, to stay small."""
LAYERS = (200, 30)
"""Layers listed of an engine, likewise."""
MINUTE = 60
STANDFIRST = {
    "PASSED": "Everything that the policy requires was run and passed.",
    "WARNED": "Everything that the policy requires was run. There are warnings, and the policy allows them.",
    "FAILED": "What the policy requires is not met.",
    "INCOMPLETE": "The run did not finish: nothing may be concluded from it.",
}


def render(report: Report, folder: Path | None = None) -> str:
    """The whole page; with the report's ``folder`` also what is drawn from the raw series in it."""
    groups = view.groups(report)
    large = len(groups) > MOST_OPEN
    return _template().render(
        report=report,
        view=view,
        engine_view=engine_view,
        word=view.headline(report),
        standfirst=STANDFIRST[view.headline(report)],
        sureness=sureness(report),
        style=Markup(_asset("style.css")),  # noqa: S704 - our own file
        groups=groups,
        opened=_opened(groups),
        families=view.families(report),
        troubles=view.troubles(report),
        measured=view.measured(report),
        beside=side_by_side.tables(report),
        pictures=select_plots,
        drawn=[select_plots.pictures(report, group, folder, BINS[large]) for group in groups],
        most_layers=LAYERS[large],
        large=large,
        took=_took(report),
        verdicts=tuple(Verdict),
        show=show,
        pretty=_pretty,
        printable=printable,
        mixed=len({check.evidence for check in report.checks if check.evidence}) > 1,
        gauge=lambda check: Markup(plots.gauge(check)),  # noqa: S704 - numbers and our words
        totals_bar=Markup(plots.totals_bar(report.totals)),  # noqa: S704 - numbers and our words
        passed=Verdict.PASSED,
    )


def _opened(groups: tuple[view.Group, ...]) -> set[int]:
    """Which groups stand open: all of a few, else the worst of those that need somebody."""
    if len(groups) <= OPEN_GROUPS:
        return set(range(len(groups)))
    wanting = [at for at, group in enumerate(groups) if group.worst is not Verdict.PASSED]
    return set(sorted(wanting, key=lambda at: view.WORST_FIRST.index(groups[at].worst))[:MOST_OPEN])


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2"))


def _asset(name: str) -> str:
    return files("hil.report").joinpath(name).read_text(encoding="utf-8")


def _took(report: Report) -> str:
    try:
        start, end = (datetime.fromisoformat(at) for at in (report.run.started, report.run.finished or ""))
        seconds = (end - start).total_seconds()
        return f"{seconds / MINUTE:.0f} min" if seconds >= 2 * MINUTE else show(seconds, "s")
    except (ValueError, TypeError):
        return "–"


def _pretty(facts: Any) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False)
