"""Time and number of commands of a user's ten tasks: ``python -m benchmarks.tasks [--quick]``.

Each task is a step of ``docs/tutorial.md`` and consists of its commands alone, in a fresh environment with a wheel of
this commit. The first verdict is also made with the default measurements, and judged: two commands within 60 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tests.docs.tutorial import ROOT, Reader, Step, steps

BAR = 60.0
"""Seconds until the first verdict on a float model of 12 MB, with default measurements, on two idle cores."""
TASKS = (
    "a first verdict on a third-party model",
    "add real data",
    "add INT8",
    "find why INT8 fails",
    "write and develop a check of your own",
    "gate in CI",
    "sign and verify",
    "add a board",
    "deploy and roll back",
    "compare two runs",
)
"""The tasks, in the order of the tutorial's steps."""
WITHOUT_BOARDS = 7
SHORTENED = "measure.toml"
"""The file of the tutorial that shortens measurements."""


def main() -> int:
    """Do the tasks and print them; return 1 if one fails or the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"the first {WITHOUT_BOARDS} tasks, which need no board")
    last = WITHOUT_BOARDS if parser.parse_args().quick else len(TASKS)
    with tempfile.TemporaryDirectory(prefix="tasks-") as folder:
        root = Path(folder)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(root / "long"),
            str(ROOT),
        ]
        subprocess.run(pip, check=True)
        (wheel,) = (root / "long").glob("*.whl")
        (root / "short").mkdir()
        (root / "short" / wheel.name).hardlink_to(wheel)
        with closing(Reader(root / "long")) as reader:
            installed, first = _shown(reader, 0, 1, default=True)
        with closing(Reader(root / "short")) as reader:
            done = _shown(reader, 0, last)
    held = not first.wrong and first.commands == 2 and first.seconds <= BAR
    limit = f"2 commands within {BAR:.0f} s: {'held' if held else 'MISSED'}"
    print(f"first verdict with default measurements: {first.commands} commands, {first.seconds:.1f} s, {limit}")
    return 0 if held and not installed.wrong and len(done) == last + 1 and not done[-1].wrong else 1


def _shown(reader: Reader, first: int, last: int, *, default: bool = False) -> list[Step]:
    """Return the steps, each printed when it has ended; with ``default``, no command shortens measurements."""
    done = []
    reader.without = SHORTENED if default else None
    for step in steps(reader, first, last):
        named = (
            step if step.title[0] not in "123456789" else replace(step, title=TASKS[int(step.title.split(".")[0]) - 1])
        )
        named.show()
        done.append(named)
    return done


if __name__ == "__main__":
    sys.exit(main())
