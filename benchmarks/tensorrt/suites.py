"""The stock suites on the GPU: five models in fp32, tf32, fp16 and int8 by both routes, through the real command line.

Runs ``pytest --pyargs hil.suites --target=gpu`` in a project of each exported network and of each bundled model,
and reads what is claimed from ``report.json``: how far each engine is from ONNX Runtime in FP32. The projects
run side by side, each with a store of its own: times taken here are disturbed, and none of them is claimed.
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

from benchmarks.networks import NETWORKS
from benchmarks.projects import BUNDLED, PARITY_BARS, TARGET, bundled_project, networks_project
from hil.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.tensorrt.stage import Stage

QUICK_ONLY = "parity"


def run(folder: Path, select: str) -> dict[str, Any]:
    """The report of one project; pytest's words go to ``pytest.txt``. Raises ``SystemExit`` where it wrote none."""
    command = [sys.executable, "-m", "pytest", "--pyargs", "hil.suites", f"--target={TARGET}", "--hil-fallback=fail"]
    command += ["-q", *(["-k", select] if select else [])]
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"))
    report = folder / "report" / "report.json"
    report.unlink(missing_ok=True)
    with (folder / "pytest.txt").open("w", encoding="utf-8") as words:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=words, stderr=words, check=False)
    if not report.is_file():
        raise SystemExit(f"pytest ended with exit code {done.returncode} and wrote no report")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if found["status"] != "complete":
        raise SystemExit(f"the report is {found['status']}: {found['run'].get('lab_error')}")
    return found


def rows_of(project: str, report: dict[str, Any], level: int | None) -> list[dict[str, Any]]:
    """Each check of the report, with the optimization level asked for; of parity also the largest relative error."""
    rows = []
    for check in report["checks"]:
        told = check["measurement"] or {}
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
            "value": told.get("value"),
            "unit": told.get("unit"),
        }
        if check["id"] == "parity.outputs":
            row["max_rel"] = largest_error(check["details"])
        rows.append(row)
    return rows


def largest_error(details: dict[str, Any]) -> float | None:
    """Over all outputs, relative to the largest magnitude of the reference; ``None`` where one has none."""
    errors = [output["metrics"]["max_rel"] for output in details.get("outputs", ())]
    return max(errors) if errors and all(error is not None for error in errors) else None


def show(rows: list[dict[str, Any]]) -> None:
    """Parity of all, and by how much what misses its bar does."""
    table = Table(title="largest error relative to the reference's largest magnitude", title_justify="left")
    for heading in ("model", "precision", "error", "bar", "", "verdict"):
        table.add_column(heading)
    for row in (row for row in rows if row["check"] == "parity.outputs"):
        bar, error = PARITY_BARS.get(row["precision"]), row["max_rel"]
        told = "none" if error is None else f"{error:.2e}"
        missed = "" if bar is None or (error is not None and error <= bar) else "missed"
        if missed and error is not None and bar is not None:
            missed += f" by {error / bar:.2f} x"
        table.add_row(row["model"], row["precision"], told, "" if bar is None else f"{bar:g}", missed, row["verdict"])
    Console(width=110).print(table)
    for row in rows:
        if row["verdict"] in {"failed", "inconclusive", "not_run"}:
            print(f"{row['check']} {row['model']} {row['precision']}: {row['verdict']}: {row['reason']}")


def measure(stage: Stage) -> int:
    """The whole benchmark; the exit code."""
    with stage.agent():
        pass  # the versions; the board is let go of before pytest asks for it
    select = stage.select or (QUICK_ONLY if stage.quick else "")
    folders = {name: stage.work / name for name in BUNDLED}
    folders = {name: folder for name, folder in folders.items() if name in stage.models}
    for name, folder in folders.items():
        bundled_project(folder, stage.python, stage.board, folder / "store", stage.level, [name])
    for name in () if stage.quick else (name for name in NETWORKS if name in stage.models):
        folders[name] = project_of(stage, name)
    with ThreadPoolExecutor(max(1, len(folders))) as pool:
        ended = {pool.submit(had, stage, folder, select): name for name, folder in folders.items()}
        # Each is kept as it ends: time on a GPU may be over before the last.
        return max([kept(stage, ended[one], one) for one in as_completed(ended)], default=1)


def kept(stage: Stage, name: str, run_of_it: Future[dict[str, Any]]) -> int:
    """The result of one model's suites; the exit code. A run without a report is told, and costs no other."""
    try:
        rows = rows_of(name, run_of_it.result(), stage.level)
    except SystemExit as error:
        print(f"{name}: not measured: {error.code}", flush=True)
        return 1
    show(rows)
    return stage.keep(f"tensorrt-suites-{name}", rows)


def had(stage: Stage, folder: Path, select: str) -> dict[str, Any]:
    """The report of this project: with ``--kept`` one that is complete already, else of a run now."""
    report = folder / "report" / "report.json"
    if stage.kept and report.is_file():
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        if found["status"] == "complete":
            return found
    return run(folder, select)


def project_of(stage: Stage, name: str) -> Path:
    """The network's project: its files beside its ``hil.toml``."""
    stage.exported(name)
    folder = stage.work / name
    folder.mkdir(exist_ok=True)
    for file in stage.networks.glob(f"{name}*"):
        if not (folder / file.name).exists():
            os.link(file, folder / file.name)
    networks_project(folder, stage.python, stage.board, [name], folder / "store", stage.level)
    return folder
