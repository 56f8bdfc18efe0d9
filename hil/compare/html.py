"""A comparison as one self-contained page; no script, no network, light and dark, as the report's own page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import count

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from hil.compare import plots, wording
from hil.compare.schema import Document, Row, Status

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
"""The style of the report's page that each status is drawn in."""


def render(found: Document) -> str:
    """The whole page."""
    number = count(1)

    def change(row: Row) -> Markup:
        drawn = plots.change(row, found.settings, f"change-{next(number)}")
        return Markup(drawn)  # noqa: S704 - escapes what it draws

    style = _asset("hil.report", "style.css") + _asset("hil.compare", "compare.css")
    return _template().render(
        found=found,
        text=wording,
        tone=TONE,
        change=change,
        style=Markup(style),  # noqa: S704 - our own files
        tables=wording.matrix(found),
        names=wording.columns(found),
        troubles=wording.troubles(found),
        accepted=[row for each in found.comparisons for row in each.rows if row.accepted is not None],
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("hil.compare", "compare.html.j2"))


def _asset(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
