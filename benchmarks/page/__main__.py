"""The HTML report of a fleet in headless Chromium: ``python -m benchmarks.page [--quick] [--keep FOLDER]``.

The report has 40 models in three precisions. The benchmark measures its size, the time until it is loaded from the disk
(the load event), the requests that it makes and the messages on the console. It also counts the violations that
axe-core reports, once with all sections collapsed and once with all expanded. The exit code is 1 if a bar is missed. It
needs the ``dev`` extra and Chromium.
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
    """Measure, print, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK} loads instead of {LOADS}, and axe-core only with collapsed sections",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the report and its screenshots there")
    parsed = parser.parse_args(arguments)
    with _folder(parsed.keep) as folder:
        fleet.write(folder, MODELS)
        page = folder / "report.html"
        inspection = browser.inspect(page, loads=QUICK if parsed.quick else LOADS, expand=not parsed.quick)
        if parsed.keep:
            browser.screenshots(page, folder)
    size, seconds = inspection.size, statistics.median(inspection.loads)
    rows = [
        ("bytes", f"{size:,}", f"{MOST_BYTES:,}", size < MOST_BYTES),
        ("seconds to load, median", f"{seconds:.3f}", f"{MOST_SECONDS:g}", seconds < MOST_SECONDS),
        ("requests", str(len(inspection.requests)), "0", not inspection.requests),
        ("console messages", str(len(inspection.console)), "0", not inspection.console),
        ("axe-core violations", str(len(inspection.violations)), "0", not inspection.violations),
    ]
    print(
        f"{MODELS} models in {len(fleet.PRECISIONS)} precisions, {inspection.rows:,} rows, "
        f"{inspection.elements:,} elements"
    )
    print(
        f"Chromium {inspection.version}, {len(inspection.loads)} loads: "
        f"{min(inspection.loads):.3f} to {max(inspection.loads):.3f} s"
    )
    for name, figure, bar, held in rows:
        print(f"{name:<28}{figure:>12}   at most {bar:<10} {'held' if held else 'MISSED'}")
    for line in [*inspection.requests, *inspection.console, *inspection.violations][:20]:
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
