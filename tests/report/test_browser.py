"""The page in a real browser: no requests, no console messages, and no accessibility violations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.page import browser, fleet
from hil.gate.gate import open_report, seal
from hil.report import html
from hil.report.write_report import finish
from tests.report import sample
from tests.report.test_pages import hostile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from hil.report.schema import Report

pytestmark = pytest.mark.skipif(browser.path() is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for all tests of the module: starting one takes seconds."""
    with browser.open_browser() as opened:
        yield opened


def empty() -> Report:
    """Return a report without checks and measurements."""
    return seal(sample.draft((), measurements=(), methods={}, environments={}))


def of_one_model(report: Report) -> Report:
    """Return the report with the rows of model ``digits`` only: axe-core takes seconds for each hundred rows."""
    return report.model_copy(update={"checks": tuple(row for row in report.checks if row.model.endswith("digits"))})


@pytest.mark.parametrize("make", [sample.fallback, empty, hostile])
def test_the_page_sends_no_requests_and_has_no_axe_violation(
    make: Callable[[], Report], chromium: Browser, tmp_path: Path
) -> None:
    """The page has no request, console message or axe violation, with all groups closed and with all open."""
    page = tmp_path / "report.html"
    page.write_text(html.render(of_one_model(make())), encoding="utf-8")
    result = browser.inspect_in(chromium, page)
    assert (result.requests, result.console, result.violations) == ([], [], [])


def test_a_fleet_has_all_figures_and_no_axe_violation(chromium: Browser, tmp_path: Path) -> None:
    """A report of a model in three precisions with raw series has all figures and no axe violations."""
    report = fleet.write(tmp_path, 1)
    assert open_report(tmp_path / "report.json") == report
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for kind in ("histogram", "over-time", "rate", "memory"):
        assert text.count(f'<svg class="plot {kind}"') == 3, kind
    for label in ("GPU clock", "Temperature", "Throttling", "fails under 80%", "ceiling 512 MiB", "Parity by output"):
        assert label in text, label
    result = browser.inspect_in(chromium, tmp_path / "report.html")
    assert (result.requests, result.console, result.violations) == ([], [], [])


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_drawn_without_overflow(width: int, chromium: Browser, tmp_path: Path) -> None:
    """In Chromium the page is not wider than its window, on a phone and on a desktop."""
    page = tmp_path / "report.html"
    page.write_text(html.render(sample.failed()), encoding="utf-8")
    context = chromium.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert 0 < tab.evaluate("() => document.documentElement.scrollWidth") <= width
    context.close()


def test_a_series_of_another_run_is_not_drawn(tmp_path: Path) -> None:
    """Raw series of another run, and truncated series, are not drawn."""
    report = fleet.write(tmp_path, 1)
    other = seal(report.model_copy(update={"run": report.run.model_copy(update={"id": "another"}), "digest": ""}))
    assert 'class="plot over-time"' in html.render(report, tmp_path)
    assert 'class="plot over-time"' not in html.render(other, tmp_path)
    for file in (tmp_path / "samples").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    finish(tmp_path, report)
    assert 'class="plot over-time"' not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="plot histogram"' in html.render(report, tmp_path)
