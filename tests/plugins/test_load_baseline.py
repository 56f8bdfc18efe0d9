from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hil.compare import Document
from tests.plugins.project import CLASSES, SUITES, Project

if TYPE_CHECKING:
    from pathlib import Path

SIZE = ("-k", "engine_size")


def grow(project: Project, times: int) -> None:
    """Add ``times`` times 200 kB of unused weights, so that the engine is that much larger."""
    model = onnx.load(project.root / "toy.onnx")
    ballast = [tensor for tensor in model.graph.initializer if tensor.name == "ballast"]
    for tensor in ballast:
        model.graph.initializer.remove(tensor)
    zeros = np.zeros((CLASSES, 50_000 * times), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(zeros, "ballast"))
    if not ballast:
        model.graph.node.append(helper.make_node("ReduceSum", ["ballast"], ["zero"], name="idle", keepdims=0))
        model.graph.node.append(helper.make_node("Add", ["raw", "zero"], ["scores"], name="sum"))
        model.graph.node[0].output[0] = "raw"
    onnx.save(model, project.root / "toy.onnx")


def test_a_run_is_compared_with_its_baseline(tmp_path: Path) -> None:
    """The baseline's engine passes, a larger one fails until it is accepted, and a still larger one fails again."""
    project = Project.make(tmp_path)
    project.keep_history()
    first = project.run(*SUITES, *SIZE, "--hil-baseline=latest").check("regression.engine_size")
    assert (first["verdict"], first["cause"]) == ("not_run", "no_baseline")
    assert "to make a baseline: pytest --target=cpu --hil-runs=5" in first["reason"]
    named = project.hil("history", "baseline", "shipped", "latest", "--why", "what robots run", "--who", "ann")
    assert named.code == 0, named.out

    ran = project.run(*SUITES, "-k", "engine_size or test_accuracy", "--hil-baseline=shipped")
    same, missing = ran.check("regression.engine_size"), ran.check("regression.accuracy")
    assert same["verdict"] == "passed", ran.out
    assert same["details"]["baseline"]["ref"] == "shipped"
    assert (missing["verdict"], missing["cause"]) == ("not_run", "no_baseline")
    assert "baseline shipped has no parity.task toy fp32: measure it first" in missing["reason"]

    compare = (*SUITES, *SIZE, "--hil-baseline=shipped")
    grow(project, 1)
    worse = project.run(*compare).check("regression.engine_size")
    assert worse["verdict"] == "failed"
    assert "if it is intended: hil accept" in worse["reason"]
    size = ("--check", "memory.engine_size", "--model", "toy", "--why", "a larger head, agreed", "--who", "ann")
    accepted = project.hil("accept", "latest", *size)
    assert accepted.code == 0, accepted.out
    assert project.run(*compare).verdict("regression.engine_size") == "passed"

    grow(project, 2)
    assert project.run(*compare).verdict("regression.engine_size") == "failed"


def test_commits_and_targets_side_by_side(tmp_path: Path) -> None:
    """Growth between two commits is worse; between targets it is confounded, and with ``--across-boards`` unclear."""
    project = Project.make(tmp_path)
    project.keep_history()
    project.toml.write_text(project.toml.read_text() + '\n[targets.other]\nkind = "local"\nstore = "other"\n')
    git = ("git", "-C", str(tmp_path), "-c", "user.name=ann", "-c", "user.email=ann@example.org")
    subprocess.run([*git, "init", "-q"], check=True)
    for times in (1, 2):
        grow(project, times)
        subprocess.run([*git, "add", "toy.onnx"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", f"grown {times}"], check=True)
        assert project.run(*SUITES, *SIZE).report is not None
    assert project.run(*SUITES, *SIZE, "--target=other", "--hil-fallback=fail").report is not None

    def sides(by: str, *more: str) -> tuple[int, dict[str, str]]:
        ran = project.hil("compare", "--by", by, "--model", "toy", "--json", f"{by}.json", *more)
        document = Document.model_validate_json((tmp_path / f"{by}.json").read_text(encoding="utf-8"))
        (compared,) = document.comparisons
        return ran.code, {row.check: row.status.value for row in compared.rows}

    code, commits = sides("commit", "--target", "cpu")
    assert (code, commits["memory.engine_size"]) == (1, "worse")
    assert sides("target")[1]["memory.engine_size"] == "confounded"
    code, targets = sides("target", "--across-boards")
    assert (code, targets["memory.engine_size"]) == (1, "unclear")
