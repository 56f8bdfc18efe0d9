"""Inspect a page in headless Chromium: load time, requests, console, axe-core's violations, screenshots."""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, ViewportSize

SIZE: ViewportSize = {"width": 1280, "height": 900}
LOOKS = (("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 390, "light"))
LOADED = "() => { const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime; }"
EXPAND = "() => document.querySelectorAll('details').forEach(one => { one.open = true; })"
AXE = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


@dataclass
class Inspection:
    """What was measured: ``loads`` are in seconds, ``size`` in bytes, the other lists have one line per event."""

    size: int
    version: str
    loads: list[float] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    rows: int = 0
    elements: int = 0


def path() -> str | None:
    """Return the path of Chromium, or None if it is not installed."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Yield a new browser. Raise ``SystemExit`` if Chromium is not installed."""
    from playwright.sync_api import sync_playwright

    executable = path()
    if executable is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def inspect(page: Path, *, loads: int = 1, expand: bool = True) -> Inspection:
    """Return the result of ``inspect_in`` with a new browser."""
    with open_browser() as browser:
        return inspect_in(browser, page, loads=loads, expand=expand)


def inspect_in(browser: Browser, page: Path, *, loads: int = 1, expand: bool = True) -> Inspection:
    """Load ``page`` ``loads`` times, each in a new context, then run axe-core on it.

    axe-core runs with collapsed sections and, if ``expand``, again with expanded ones.
    """
    inspection = Inspection(page.stat().st_size, browser.version)
    for _ in range(loads):
        context = browser.new_context(viewport=SIZE)
        _load(context.new_page(), page, inspection)
        context.close()
    # The page's own policy blocks every script, including axe-core; bypassing it does not change the page.
    context = browser.new_context(viewport=SIZE, bypass_csp=True)
    tab = context.new_page()
    tab.goto(page.as_uri())
    inspection.rows, inspection.elements = (
        tab.locator("table.checks tbody tr").count(),
        tab.evaluate("() => document.querySelectorAll('*').length"),
    )
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    tab.evaluate(axe)
    inspection.violations += _violations(tab.evaluate(AXE), "")
    if expand:
        tab.evaluate(EXPAND)
        inspection.violations += _violations(tab.evaluate(AXE), "expanded: ")
    context.close()
    return inspection


def _load(tab: Page, page: Path, inspection: Inspection) -> None:
    tab.on("request", lambda request: None if request.url == page.as_uri() else inspection.requests.append(request.url))
    tab.on("console", lambda message: inspection.console.append(message.text))
    tab.on("pageerror", lambda error: inspection.console.append(str(error)))
    tab.goto(page.as_uri(), wait_until="load")
    inspection.loads.append(tab.evaluate(LOADED) / 1000)


def _violations(violations: list[dict[str, Any]], when: str) -> list[str]:
    return [f"{when}{one['id']}: {len(one['nodes'])} x {one['nodes'][0]['html'][:160]}" for one in violations]


def screenshots(page: Path, folder: Path) -> None:
    """Write ``light.png``, ``dark.png`` and ``narrow.png``, each with the top of the page."""
    with open_browser() as browser:
        for name, width, scheme in LOOKS:
            context = browser.new_context(viewport={"width": width, "height": 2400}, color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.screenshot(path=folder / f"{name}.png")
            context.close()
