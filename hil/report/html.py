"""Draw ``report.html``: one self-contained file without scripts or network access.

It supports light and dark mode, printing, and screen readers.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from hil.report import (
    answers_view,
    control_view,
    engine_view,
    plots,
    select_plots,
    side_by_side,
    view,
)
from hil.report.certainty import certainty_lines
from hil.report.parts import boards_view, glossary, measured_csv
from hil.report.shown_text import printable
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from pathlib import Path

    from hil.report.schema import Report

OPEN_GROUPS = 6
"""A report with at most this many groups shows all of them open; a larger one opens only groups with a problem."""
MOST_OPEN = 12
"""The most groups that are open at first in a large report."""
BINS = (200, 30)
"""Points of a plotted line: in a report with at most ``MOST_OPEN`` groups, and in a larger one, to limit its size."""
LAYERS = (200, 30)
"""Layers listed per engine: in a small and in a large report."""
MINUTE = 60
STANDFIRST = {
    "PASSED": "Every check that the policy requires was run and passed.",
    "WARNED": "Every check that the policy requires was run. There are warnings, and the policy allows them.",
    "FAILED": "The requirements of the policy are not met.",
    "INCOMPLETE": "The run did not finish. No conclusion can be drawn from it.",
    "PARTIAL": "Only a selection of the tests was run. No gate accepts this report.",
}


def render(report: Report, folder: Path | None = None) -> str:
    """Return the whole page as HTML.

    Figures of raw series are drawn from the files in ``folder``, the report's folder; without it they are left out.
    """
    groups = view.groups(report)
    large = len(groups) > MOST_OPEN
    page = _template().render(
        report=report,
        view=view,
        boards_view=boards_view,
        on_board=boards_view.board_of(report),
        control_view=control_view,
        engine_view=engine_view,
        word=view.headline(report),
        standfirst=STANDFIRST[view.headline(report)],
        certainty=certainty_lines(report),
        style=Markup(_asset("style.css")),  # noqa: S704 - our own file
        groups=groups,
        opened=_opened(groups),
        families=view.families(report),
        troubles=view.troubles(report),
        left_aside=view.left_aside(report),
        csv=measured_csv.link(report, packed=large),
        measured=view.measured(report),
        precision_tables=side_by_side.tables(report),
        pictures=select_plots,
        answers_view=answers_view,
        verdict_words={verdict.value: view.WORD[verdict] for verdict in Verdict},
        drawn=[select_plots.pictures(report, group, folder, BINS[large]) for group in groups],
        most_layers=LAYERS[large],
        large=large,
        duration=_duration(report),
        verdicts=tuple(Verdict),
        show=show,
        pretty=_pretty,
        printable=printable,
        mixed=len({check.evidence for check in report.checks if check.evidence}) > 1,
        gauge=lambda check: Markup(plots.gauge(check)),  # noqa: S704 - numbers and our words
        totals_bar=Markup(plots.totals_bar(report.totals)),  # noqa: S704 - numbers and our words
        passed=Verdict.PASSED,
    )
    return glossary.explained(page)


def _opened(groups: tuple[view.Group, ...]) -> set[int]:
    """Return the indices of the groups that the page shows opened.

    In a small report, these are all groups. In one with more than ``OPEN_GROUPS``, they are the worst groups that did
    not pass, at most ``MOST_OPEN``.
    """
    if len(groups) <= OPEN_GROUPS:
        return set(range(len(groups)))
    bad = [index for index, group in enumerate(groups) if group.worst is not Verdict.PASSED]
    return set(sorted(bad, key=lambda index: view.WORST_FIRST.index(groups[index].worst))[:MOST_OPEN])


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2"))


def _asset(name: str) -> str:
    return files("hil.report").joinpath(name).read_text(encoding="utf-8")


def _duration(report: Report) -> str:
    try:
        start, end = (datetime.fromisoformat(text) for text in (report.run.started, report.run.finished or ""))
        seconds = (end - start).total_seconds()
        return f"{seconds / MINUTE:.0f} min" if seconds >= 2 * MINUTE else show(seconds, "s")
    except (ValueError, TypeError):
        return "–"


def _pretty(facts: Any) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False)
