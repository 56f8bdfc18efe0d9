"""``python -m benchmarks.determinism [--quick]``: two runs on the CPU give identical rows of parity and INT8.

The main job runs twice on the bundled examples, each time in a fresh process, a separate folder and with an empty
cache. The rows of parity and INT8 in both reports are compared byte for byte: verdict, reason, number, interval, limit,
method, engine digest, details. Only the fields in ``LEFT_OUT`` are ignored. ``--quick`` uses one model. The exit code
is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parent.parent
FAMILIES = ("parity.", "int8.")
TIMED = frozenset({"int8.speedup"})
"""Checks whose rows are not compared, because their figures are ratios of times."""

LEFT_OUT: Mapping[tuple[str, ...], str] = {
    ("measurement", "environment"): "digest of the machine's state, which includes free memory and clocks",
}
"""Fields of a row that may differ, and why."""


def comparable(report: Mapping[str, Any]) -> bytes:
    """Return the rows of parity and INT8 as canonical JSON, without ``LEFT_OUT``.

    Raise ``ValueError`` if no row was measured.
    """
    rows = [row for row in report["checks"] if row["id"].startswith(FAMILIES) and row["id"] not in TIMED]
    if not any(row["measurement"] for row in rows):
        raise ValueError("the report has no measurement of parity or INT8")
    compared = [
        _without(row, LEFT_OUT) for row in sorted(rows, key=lambda row: (row["id"], row["model"], row["precision"]))
    ]
    return json.dumps(compared, indent=1, sort_keys=True, allow_nan=False).encode()


def _without(row: Mapping[str, Any], paths: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(row))
    for *above, last in paths:
        place: Any = copy
        for key in above:
            place = (place or {}).get(key)
        if place:
            place.pop(last, None)
    return copy


def run(folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Run the main job in a copy of the examples and return its report. Raise ``SystemExit`` if it wrote none."""
    folder.mkdir()
    copytree(ROOT / "examples", folder / "examples")
    (folder / "hil.toml").write_bytes((ROOT / "hil.toml").read_bytes())
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "CI": "true"}  # a selection is a whole run there
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "hil.suites", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    path = folder / "report" / "report.json"
    if not path.exists():
        raise SystemExit(f"no report was written:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def main() -> int:
    """Run twice, compare, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the digits model")
    options = parser.parse_args()
    arguments = ["-k", "parity or (int8 and not speedup)", *(["--hil-model=digits"] if options.quick else [])]
    with tempfile.TemporaryDirectory(prefix="determinism-") as work:
        contents = [comparable(run(Path(work) / name, arguments)) for name in ("first", "second")]
    first, second = (content.decode().splitlines() for content in contents)
    differ = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
    for line, other in differ[:20]:
        print(f"  {line.strip()}\n  {other.strip()}\n")
    rows = len(json.loads(contents[0]))
    same = contents[0] == contents[1]
    print(
        f"{rows} rows, {len(contents[0])} bytes: {len(differ)} lines differ (bar: 0): {'same' if same else 'DIFFERENT'}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
