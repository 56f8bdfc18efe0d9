"""A page in headless Chromium: how it loads, what leaves it, what it says, what axe-core finds, how it looks."""

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
UNFOLD = "() => document.querySelectorAll('details').forEach(one => { one.open = true; })"
AXE = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


@dataclass
class Seen:
    """What was found; ``loads`` in seconds, ``size`` in bytes, the rest a line each."""

    size: int
    version: str
    loads: list[float] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    rows: int = 0
    elements: int = 0


def path() -> str | None:
    """Where a Chromium is; None without one."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """A browser of its own. Raises ``SystemExit`` where there is none."""
    from playwright.sync_api import sync_playwright

    found = path()
    if found is None:
        sys.exit("chromium is not there: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def look(page: Path, *, loads: int = 1, unfold: bool = True) -> Seen:
    """Loads ``page`` so many times, each in a fresh context, and has axe-core read it: as it is, and unfolded."""
    with opened() as browser:
        seen = Seen(page.stat().st_size, browser.version)
        for _ in range(loads):
            context = browser.new_context(viewport=SIZE)
            _load(context.new_page(), page, seen)
            context.close()
        # The page's own policy lets no script in, axe-core's included; it changes nothing of what is read.
        context = browser.new_context(viewport=SIZE, bypass_csp=True)
        tab = context.new_page()
        tab.goto(page.as_uri())
        seen.rows, seen.elements = (
            tab.locator("table.checks tbody tr").count(),
            tab.evaluate("() => document.querySelectorAll('*').length"),
        )
        axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        tab.evaluate(axe)
        seen.violations += _violations(tab.evaluate(AXE), "")
        if unfold:
            tab.evaluate(UNFOLD)
            seen.violations += _violations(tab.evaluate(AXE), "unfolded: ")
    return seen


def _load(tab: Page, page: Path, seen: Seen) -> None:
    tab.on("request", lambda asked: None if asked.url == page.as_uri() else seen.requests.append(asked.url))
    tab.on("console", lambda said: seen.console.append(said.text))
    tab.on("pageerror", lambda error: seen.console.append(str(error)))
    tab.goto(page.as_uri(), wait_until="load")
    seen.loads.append(tab.evaluate(LOADED) / 1000)


def _violations(found: list[dict[str, Any]], when: str) -> list[str]:
    return [f"{when}{one['id']}: {len(one['nodes'])} x {one['nodes'][0]['html'][:160]}" for one in found]


def screenshots(page: Path, folder: Path) -> None:
    """``light.png``, ``dark.png`` and ``narrow.png``: the top of the page in each."""
    with opened() as browser:
        for name, width, scheme in LOOKS:
            context = browser.new_context(viewport={"width": width, "height": 2400}, color_scheme=scheme)  # type: ignore[arg-type]  # one of its words
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.screenshot(path=folder / f"{name}.png")
            context.close()
