"""The bundled models' suites, end to end over SSH, on a board of each generation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.boards.generations import GENERATIONS
from tests.plugins.project import QUIET, SUITES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

MEASURE = """
[measure]
duration = "2.2 s"
warmup = "0.2 s"
budget = "10 s"
soak = 400
examples = 10
"""
"""Shorter windows than the bundled examples': this test does not check measured values."""


@pytest.mark.parametrize("board", GENERATIONS, indirect=True)
def test_the_main_job(board: SimulatedBoard, repository: Path, tmp_path: Path) -> None:
    """Every planned row is judged on the board with evidence ``emulated``; the run passes and leaves a clean board."""
    for name in ("examples", "hil.toml"):
        source = repository / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    with (tmp_path / "hil.toml").open("a", encoding="utf-8") as file:
        file.write(MEASURE + board.toml("board"))
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name in [name for name in settings if name.startswith(("PYTEST_", "COV_"))]:
        del settings[name]
    command = (sys.executable, "-m", "pytest", *QUIET, *SUITES, "--target=board", "--hil-history=none")
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert report["totals"]["planned"] == len(report["checks"]) > 60
    assert {check["verdict"] for check in report["checks"]} <= {"passed", "not_run"}, report["totals"]
    assert report["decision"] == "PASSED"
    evidence = {check["evidence"] for check in report["checks"]}
    assert "emulated" in evidence
    assert evidence <= {"emulated", "host"}
    assert [process.user for process in board.processes()] == ["root"]
    store = board.file("/home/hil/.cache/pytest-hil/store")
    assert not [*(store / "tmp").iterdir(), *(store / "partial").iterdir()]
