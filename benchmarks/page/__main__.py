"""How the page stands up to a fleet: ``python -m benchmarks.page [--quick] [--keep FOLDER]``.

Opens the report of 40 models in three precisions in headless Chromium: its size, how long until it can be read (the
load event, from the disk), the requests that leave it, what the console says, and what axe-core finds, with all its
parts folded and with all of them open. Exit code 1 where a bar is missed. Wants the ``dev`` extra and Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.page import browser, fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = 40
LOADS, QUICK = 15, 3
MOST_SECONDS, MOST_BYTES = 1.0, 2_000_000


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints, and returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK} loads instead of {LOADS}, and axe-core folded alone"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the report and its screenshots there")
    given = parser.parse_args(arguments)
    with _folder(given.keep) as folder:
        fleet.write(folder, MODELS)
        page = folder / "report.html"
        seen = browser.look(page, loads=QUICK if given.quick else LOADS, unfold=not given.quick)
        if given.keep:
            browser.screenshots(page, folder)
    size, seconds = seen.size, statistics.median(seen.loads)
    rows = [
        ("bytes", f"{size:,}", f"{MOST_BYTES:,}", size < MOST_BYTES),
        ("seconds to load, median", f"{seconds:.3f}", f"{MOST_SECONDS:g}", seconds < MOST_SECONDS),
        ("requests that left it", str(len(seen.requests)), "0", not seen.requests),
        ("console messages", str(len(seen.console)), "0", not seen.console),
        ("axe-core violations", str(len(seen.violations)), "0", not seen.violations),
    ]
    print(f"{MODELS} models in {len(fleet.PRECISIONS)} precisions, {seen.rows:,} rows, {seen.elements:,} elements")
    print(f"Chromium {seen.version}, {len(seen.loads)} loads: {min(seen.loads):.3f} to {max(seen.loads):.3f} s")
    for name, found, bar, held in rows:
        print(f"{name:<28}{found:>12}   at most {bar:<10} {'held' if held else 'MISSED'}")
    for line in [*seen.requests, *seen.console, *seen.violations][:20]:
        print(f"  {line}")
    held = all(row[3] for row in rows)
    print(
        f"page: {seconds:.3f} s and {size / 1e6:.2f} MB, under {MOST_SECONDS:g} s and {MOST_BYTES / 1e6:g} MB, "
        f"no request, message or violation: {'held' if held else 'MISSED'}"
    )
    return 0 if held else 1


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
