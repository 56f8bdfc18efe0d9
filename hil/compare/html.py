"""Render a comparison as one HTML page without scripts or network access, in the style of ``report.html``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import count

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from hil.compare import plots, wording
from hil.compare.schema import Document, Row, Status
from hil.report.parts.glossary import explained

TONE = {
    Status.SAME: "passed",
    Status.BETTER: "passed",
    Status.ACCEPTED: "warned",
    Status.TOLD: "not_run",
    Status.WORSE: "failed",
    Status.UNCLEAR: "inconclusive",
    Status.MISSING: "not_run",
    Status.CONFOUNDED: "inconclusive",
    Status.REFUSED: "failed",
}
"""The CSS class of each status; ``report.html`` uses the same classes for verdicts."""


def render(document: Document) -> str:
    """Return the whole page as HTML."""
    number = count(1)

    def change(row: Row) -> Markup:
        drawn = plots.change(row, document.settings, f"change-{next(number)}")
        return Markup(drawn)  # noqa: S704 - plots.change escapes its texts

    style = _asset("hil.report", "style.css") + _asset("hil.compare", "compare.css")
    page = _template().render(
        document=document,
        text=wording,
        tone=TONE,
        change=change,
        style=Markup(style),  # noqa: S704 - our own files
        tables=wording.matrix(document),
        names=wording.columns(document),
        troubles=wording.troubles(document),
        unasked=wording.worse_unasked(document),
        accepted=[row for each in document.comparisons for row in each.rows if row.accepted is not None],
    )
    return explained(page)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("hil.compare", "compare.html.j2"))


def _asset(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
