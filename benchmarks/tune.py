"""``hil int8 tune`` on third-party models: ``python -m benchmarks.tune [--quick] [--cache DIR] [--out DIR]``.

Each model is calibrated on this machine so that full INT8 misses a default tolerance. ``hil int8 tune`` then searches
for the nodes to keep in floating point, and must meet every tolerance in few builds with most multiply-adds in INT8.
``--quick`` takes one model with few samples and few builds, within a minute, and is not a result. Exit code 1 if a bar
is missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import results
from benchmarks.results.judging import tune
from tests.zoo import inputs
from tests.zoo.models import MODELS
from tests.zoo.packages import PACKAGES, installed
from tests.zoo.project import SHORT, Project

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUILDS, QUICK_BUILDS = 8, 2
TIMED = '\n[measure]\nduration = "1 s"\n'
SIDE = 128
QUICK = "standard_v3_3"


def small_pages(_: Path, count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return small images with several lines of text."""
    return {"x": np.stack([inputs.normalized(inputs.page(SIDE, SIDE, seed + index)) for index in range(count)])}


_TURNED, _FILES, _PAGES = "ch_ppocr_mobile_v2.0_cls_mobile", QUICK, "ch_PP-OCRv4_det_infer"
_KIND = [
    ("# [models.standard_v3_3.outputs", "[models.standard_v3_3.outputs"),
    ('# kind = "regression"', 'kind = "classification"'),
]
SUBJECTS = {
    _FILES: replace(MODELS[_FILES], samples=322, calibration=140, tolerance="", edits=[*MODELS[_FILES].edits, *_KIND]),
    _PAGES: replace(
        MODELS[_PAGES],
        data=small_pages,
        samples=48,
        calibration=48,
        edits=[("3, 512, 512]  #", f"3, {SIDE}, {SIDE}]  #")],
    ),
    _TURNED: replace(MODELS[_TURNED], samples=320, calibration=128, tolerance=""),
}
"""The models with the data that their tolerances need; their tolerances are the defaults."""


def prepared(name: str, packages: Path, folder: Path, *, quick: bool = False) -> Project:
    """Return a project in ``folder`` with the model, a copy of its file, and its data, few of them if ``quick``.

    Raise ``SystemExit`` with the output of ``hil init`` if that fails.
    """
    subject = (
        replace(SUBJECTS[name], samples=64, calibration=56, tolerance=MODELS[name].tolerance)
        if quick
        else SUBJECTS[name]
    )
    copy = folder / "packages" / subject.file
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(packages / subject.file, copy)
    project = Project(folder, folder / "packages", [name], models={name: subject})
    if project.init():
        raise SystemExit(f"hil init of {name} failed:\n{project.outputs['init']}")
    project.write_data()
    project.edit(measure=SHORT if quick else TIMED)
    return project


def tuned(project: Project, builds: int, *options: str) -> dict[str, Any]:
    """Tune the project's only model in at most ``builds`` builds, and return what the command wrote of it."""
    (name,) = project.names
    began = time.monotonic()
    code = project.tune(name, builds, *options)
    seconds = time.monotonic() - began
    if not (project.root / "tuned.json").exists():
        raise SystemExit(f"hil int8 tune of {name} ended with exit code {code}:\n{project.outputs['tune'][-2000:]}")
    made = json.loads((project.root / "tuned.json").read_text())
    shown = ("holds", "missed", "losses", "share", "speedup")
    trials = [{"nodes": len(one["keep"]), **{key: one[key] for key in shown}} for one in made["trials"]]
    best = made["best"]
    return {
        "model": name,
        "samples": project.models[name].samples,
        "calibration": project.models[name].calibration,
        "code": code,
        "builds": made["builds"],
        "seconds": seconds,
        "over": made["over"],
        "trials": trials,
        "met": best is not None,
        "share": None if best is None else best["share"] / trials[0]["share"],
        "speedup": None if best is None else best["speedup"],
        "keep": [] if best is None else best["keep"],
    }


def row(name: str, packages: Path, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Tune one model on this machine's CPU, and return its row."""
    project = prepared(name, packages, folder / name, quick=quick)
    return tuned(project, QUICK_BUILDS if quick else BUILDS)


def line(made: dict[str, Any]) -> str:
    """Return a row as a line of text."""
    first = next((number for number, one in enumerate(made["trials"], start=1) if one["holds"]), None)
    outcome = "met in no build" if first is None else f"met in build {first}, {made['share']:.1%} of full INT8's"
    missed = ", ".join(made["trials"][0]["missed"]) or "nothing"
    return (
        f"{made['model']}: full INT8 misses {missed}; {outcome} multiply-adds in INT8, {len(made['keep'])} nodes in "
        f"float; {made['builds']} builds, {made['seconds']:.0f} s"
    )


def main() -> int:
    """Print each row when it is complete, and the bars; write the result to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one model with few samples and builds; not a result")
    parser.add_argument("--cache", type=Path, help="keep finished rows here, and continue an interrupted run")
    parser.add_argument("--out", type=Path, help="the folder to write int8-tune.json to")
    options = parser.parse_args()
    packages, made = installed(), []
    with tempfile.TemporaryDirectory() as folder:
        for name in [QUICK] if options.quick else SUBJECTS:
            kept = (options.cache or Path(folder)) / f"{results.commit()}-{name}.json"
            kept.parent.mkdir(parents=True, exist_ok=True)
            if not kept.exists():
                kept.write_text(json.dumps(row(name, packages, Path(folder), quick=options.quick)))
            made.append(json.loads(kept.read_text()))
            print(line(made[-1]), flush=True)
    if options.quick:
        return 0 if tune.met(made[0]) else 1
    own = ("numpy", "onnx", "onnxruntime", "pytest-hil")
    versions = {"host python": platform.python_version(), **{one: version(one) for one in own}}
    versions |= dict(one.split()[0].split("==") for one in PACKAGES.read_text().splitlines() if not one.startswith("#"))
    command = ["python", "-m", "benchmarks.tune"]
    document = results.result("int8-tune", made, command=command, versions=versions, quick=False)
    if options.out is not None:
        print(results.write(options.out, document))
    for bar in document["bars"]:
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}")
    return 0 if document["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
