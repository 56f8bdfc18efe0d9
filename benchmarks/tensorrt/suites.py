"""The stock suites on the GPU, through the real command line: a recurrent model, a detector, and five other models.

The five run in fp32, tf32, fp16 and int8 by both routes. Each model has a project, in which
``pytest --pyargs hil.suites --target=gpu`` runs; ``report.json`` shows how far each engine is from ONNX Runtime in
FP32. The projects run concurrently, each with a store of its own, so their timings are disturbed; no timing is part of
a claim.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.networks import DETECTOR, NETWORKS
from benchmarks.projects import (
    BUNDLED,
    PARITY_BARS,
    TARGET,
    bundled_project,
    detector_project,
    filter_project,
    networks_project,
)
from hil.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.tensorrt.stage import Stage

QUICK_ONLY = "parity"


def run(folder: Path, select: str) -> dict[str, Any]:
    """Return the report of one project; pytest's output goes to ``pytest.txt``.

    Raise ``SystemExit`` without a complete report.
    """
    command = [sys.executable, "-m", "pytest", "--pyargs", "hil.suites", f"--target={TARGET}", "--hil-fallback=fail"]
    command += ["-q", *(["-k", select] if select else [])]
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"), CI="true")  # a selection is a whole run there
    report = folder / "report" / "report.json"
    report.unlink(missing_ok=True)
    with (folder / "pytest.txt").open("w", encoding="utf-8") as output:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=output, check=False)
    if not report.is_file():
        raise SystemExit(f"pytest ended with exit code {done.returncode} and wrote no report")
    document: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if document["status"] != "complete":
        raise SystemExit(f"the report is {document['status']}: {document['run'].get('lab_error')}")
    return document


def rows_of(project: str, report: dict[str, Any], level: int | None) -> list[dict[str, Any]]:
    """Return a row for each check, with the optimization level; for parity also the largest relative error."""
    rows = []
    for check in report["checks"]:
        measurement = check["measurement"] or {}
        row = {
            "project": project,
            "level": level,
            "check": check["id"],
            "model": check["model"],
            "precision": check["precision"],
            "verdict": check["verdict"],
            "reason": check["reason"],
            "evidence": check["evidence"],
            "executed_on": (check["executed_on"] or {}).get("kind"),
            "on_host": CATALOGUE[check["id"]].on_host,
            "value": measurement.get("value"),
            "unit": measurement.get("unit"),
        }
        if check["id"] == "parity.outputs":
            row["max_rel"] = largest_error(check["details"])
        rows.append(row)
    return rows


def largest_error(details: dict[str, Any]) -> float | None:
    """Return the largest ``max_rel`` of all outputs; None if an output lacks it or there is no output."""
    errors = [output["metrics"]["max_rel"] for output in details.get("outputs", ())]
    return max(errors) if errors and all(error is not None for error in errors) else None


def show(rows: list[dict[str, Any]]) -> None:
    """Print all parity errors, and by how much each bar is missed."""
    table = Table(title="largest error relative to the reference's largest magnitude", title_justify="left")
    for heading in ("model", "precision", "error", "bar", "", "verdict"):
        table.add_column(heading)
    for row in (row for row in rows if row["check"] == "parity.outputs"):
        bar, error = PARITY_BARS.get(row["precision"]), row["max_rel"]
        shown = "none" if error is None else f"{error:.2e}"
        missed = "" if bar is None or (error is not None and error <= bar) else "missed"
        if missed and error is not None and bar is not None:
            missed += f" by {error / bar:.2f} x"
        table.add_row(row["model"], row["precision"], shown, "" if bar is None else f"{bar:g}", missed, row["verdict"])
    Console(width=110).print(table)
    for row in rows:
        if row["verdict"] in {"failed", "inconclusive", "not_run"}:
            print(f"{row['check']} {row['model']} {row['precision']}: {row['verdict']}: {row['reason']}")


def measure(stage: Stage) -> int:
    """Run the whole benchmark; return the exit code."""
    with stage.agent():
        pass  # only for the versions; the target is released before pytest needs it
    select = stage.select or (QUICK_ONLY if stage.quick else "")
    folders = {name: stage.work / name for name in BUNDLED}
    folders = {name: folder for name, folder in folders.items() if name in stage.models}
    for name, folder in folders.items():
        bundled_project(folder, stage.python, stage.board, folder / "store", stage.level, [name])
    if "filter" in stage.models:
        folders["filter"] = stage.work / "filter"
        filter_project(folders["filter"], stage.python, stage.board, folders["filter"] / "store", stage.level)
    for name in () if stage.quick else (name for name in (*NETWORKS, DETECTOR) if name in stage.models):
        folders[name] = project_of(stage, name)
    with ThreadPoolExecutor(max(1, len(folders))) as pool:
        ended = {pool.submit(report_of, stage, folder, select): name for name, folder in folders.items()}
        # Store each result when it is complete: the GPU may be taken away before the last one.
        return max([store_result(stage, ended[future], future) for future in as_completed(ended)], default=1)


def store_result(stage: Stage, name: str, future: Future[dict[str, Any]]) -> int:
    """Store the result of one model's suites and return the exit code; a run without a report is only printed."""
    try:
        rows = rows_of(name, future.result(), stage.level)
    except SystemExit as error:
        print(f"{name}: not measured: {error.code}", flush=True)
        return 1
    show(rows)
    return stage.keep(f"tensorrt-suites-{name}", rows)


def report_of(stage: Stage, folder: Path, select: str) -> dict[str, Any]:
    """Return this project's report: with ``--kept`` an existing complete one, otherwise that of a new run."""
    report = folder / "report" / "report.json"
    if stage.kept and report.is_file():
        document: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        if document["status"] == "complete":
            return document
    return run(folder, select)


def project_of(stage: Stage, name: str) -> Path:
    """Return the network's project folder, with its files next to its ``hil.toml``."""
    stage.exported(name)
    folder = stage.work / name
    folder.mkdir(exist_ok=True)
    for file in stage.networks.glob(f"{name}*"):
        if not (folder / file.name).exists():
            os.link(file, folder / file.name)
    if name == DETECTOR:
        detector_project(folder, stage.python, stage.board, folder / "store", stage.level)
    else:
        networks_project(folder, stage.python, stage.board, [name], folder / "store", stage.level)
    return folder
