"""Third-party models from ``hil init`` to ``hil gate``: ``python -m benchmarks.zoo [--quick] [--out DIR]``.

Each model of ``tests/zoo`` goes through ``hil init``, the edits of a user, ``hil doctor``, a run of all suites on this
machine at the default settings, and ``hil gate``, with realistic data. It must end as ``tests/zoo/models.py`` states.
Copies of some models are damaged and compared with the original at the default tolerances: none may be within them.
``--quick`` takes two models at short settings, within a minute, and is not a result. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from tests.zoo.damage import DAMAGED, verdicts
from tests.zoo.models import MODELS
from tests.zoo.packages import PACKAGES, installed
from tests.zoo.project import SHORT, VALIDATION_SEED, Project

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = ("silero_vad_half", "ch_ppocr_mobile_v2.0_cls_mobile")
QUICK_DAMAGED = ("ch_ppocr_mobile_v2.0_cls_mobile", "320n")
COMPARED = 28
"""Samples on which damaged copies are compared: two of each kind of file."""


def model_row(name: str, packages: Path, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Take one model from ``hil init`` to ``hil gate``.

    Return the exit codes, and the checks that did not pass. ``ended`` names these checks with their verdicts; if there
    are none, it has the exit code of the gate.
    """
    project = Project(folder / name, packages, [name])
    codes = {"init": project.init()}
    project.write_data()
    project.edit(measure=SHORT if quick else "")
    codes |= {"doctor": project.doctor(), "pytest": project.pytest(), "gate": project.gate()}
    bad = [
        {key: row[key] for key in ("id", "precision", "verdict", "reason")}
        for row in project.checks()
        if row["verdict"] not in {"passed", "measured"}
    ]
    ended = ", ".join(f"{row['id']} {row['precision']} {row['verdict']}" for row in bad) or f"gate {codes['gate']}"
    return {"part": "model", "model": name, **codes, "bad": bad, "ended": ended, "expected": MODELS[name].ends}


def rows(packages: Path, folder: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each model, then one for each damaged copy and precision."""
    for name in QUICK if quick else MODELS:
        yield model_row(name, packages, folder, quick=quick)
    for name in QUICK_DAMAGED if quick else DAMAGED:
        file = packages / MODELS[name].file
        arrays = MODELS[name].data(file, 4 if quick else COMPARED, VALIDATION_SEED)
        for row in verdicts(name, file, arrays, folder):
            yield {"part": "damage", **row}


def line(row: dict[str, Any]) -> str:
    """Return a row as a line of text."""
    if row["part"] == "damage":
        return f"{row['model']}, {row['damage']}, tolerances of {row['precision']}: {row['verdict']}: {row['reason']}"
    mark = "as stated" if row["ended"] == row["expected"] else f"EXPECTED {row['expected']}"
    return f"{row['model']}: {row['ended']}: {mark}" + "".join(
        f"\n    {one['id']}: {one['reason']}" for one in row["bad"]
    )


def main() -> int:
    """Print each row when it is complete, and the bars; write the result to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two models at short settings; not a result")
    parser.add_argument("--out", type=Path, help="the folder to write zoo.json to")
    options = parser.parse_args()
    made = []
    packages = installed()
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(packages, Path(folder), quick=options.quick):
            print(line(row), flush=True)
            made.append(row)
    if options.quick:
        ended = sum(row["ended"] != row["expected"] for row in made if row["part"] == "model")
        print(f"zoo: {ended} of {len(QUICK)} models do not have the stated outcome; bar: 0")
        return 1 if ended else 0
    names = ("numpy", "onnx", "onnxruntime", "pytest-hil")
    versions = {"host python": platform.python_version(), **{name: version(name) for name in names}}
    pinned = [one.split()[0].split("==") for one in PACKAGES.read_text().splitlines() if not one.startswith("#")]
    versions |= dict(pinned)
    command = ["python", "-m", "benchmarks.zoo"]
    document = results.result("zoo", made, command=command, versions=versions, quick=False)
    if options.out is not None:
        print(results.write(options.out, document))
    bars = document["bars"]
    for bar in bars:
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}")
    missed = sum(not bar["met"] for bar in bars)
    print(f"zoo: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
