"""The suites run end to end over SSH: two of the bundled models on one board, a small model on others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.boards.faults import BoardProject, assert_clean
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


@pytest.mark.long
def test_the_main_job(board: SimulatedBoard, repository: Path, tmp_path: Path) -> None:
    """Every planned row is judged with evidence ``emulated``; the run passes and leaves a clean board."""
    for name in ("examples", "hil.toml"):
        source = repository / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    config = tmp_path / "hil.toml"
    text = re.sub(r"(?s)\[models\.scenes\].*(?=\[gate\])", "", config.read_text(encoding="utf-8"))
    config.write_text(text + MEASURE + board.toml("board"), encoding="utf-8")
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name in [name for name in settings if name.startswith(("PYTEST_", "COV_"))]:
        del settings[name]
    command = (sys.executable, "-m", "pytest", *QUIET, *SUITES, "--target=board", "--hil-history=none")
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert report["totals"]["planned"] == len(report["checks"]) > 60
    assert {check["verdict"] for check in report["checks"]} <= {"passed", "not_run"}, report["totals"]
    assert report["decision"] == "PASSED"
    evidence = {check["evidence"] for check in report["checks"]}
    assert "emulated" in evidence
    assert evidence <= {"emulated", "host"}
    assert_clean(board)


@pytest.mark.parametrize("board", ["jp46", "jp72"], indirect=True)
def test_oldest_and_newest_generation(board: SimulatedBoard, tmp_path: Path) -> None:
    """On the oldest and the newest JetPack, a small model is built, checked and timed, and the run passes."""
    ran = BoardProject.make(tmp_path, board).brief()
    assert ran.code == 0, ran.out
    assert {ran.check(check)["evidence"] for check in ("parity.outputs", "latency.p99")} == {"emulated"}
    assert_clean(board)
