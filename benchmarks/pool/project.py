"""A project whose boards only wait: models, data, ``hil.toml``, and one run of pytest on some of its boards."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.pool.waiting_runtime import SHAPE

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNTIME = Path(__file__).with_name("waiting_runtime.py")
REPOSITORY = Path(__file__).parent.parent.parent
POOL = "boards"
HEAD = """
[project]
history = "none"

[measure]
duration = "{seconds} s"
warmup = "0.2 s"
budget = "{budget} s"

[gate]
require = ["contract.signature", "latency.p50"]
evidence = "host"
"""
MODEL = """
[models.{name}]
path = "{name}.onnx"
data = "validation.npz"
precisions = ["fp32"]
limits.latency = {{ p50 = "5 s" }}
"""
BOARD = """
[targets.{name}]
store = "{root}/stores/{name}"
python = "{root}/python"
threads = 1
"""


def model(path: Path) -> None:
    """Write the only model that the boards know. Files of two models differ only in the name."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], path.stem, ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), str(path))


def interpreter(root: Path) -> Path:
    """Write the boards' interpreter, which has the waiting runtime as ``onnxruntime``; return its path."""
    (root / "runtime").mkdir()
    shutil.copy(RUNTIME, root / "runtime" / "onnxruntime.py")
    path = root / "python"
    words = [f"PYTHONPATH={shlex.quote(str(root / 'runtime'))}", "exec", shlex.quote(sys.executable), '"$@"']
    path.write_text(f"#!/bin/sh\n{' '.join(words)}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def write(root: Path, models: int, boards: int, seconds: float) -> None:
    """Write a project with ``models`` models and a pool of ``boards`` boards. Latency is timed for ``seconds``."""
    root.mkdir(parents=True)
    interpreter(root)
    names = [f"m{number}" for number in range(models)]
    for name in names:
        model(root / f"{name}.onnx")
    np.savez(root / "validation.npz", x=np.random.default_rng(1).normal(size=(50, SHAPE[1])).astype(np.float32))
    members = [f"b{number}" for number in range(boards)]
    parts = [HEAD.format(seconds=seconds, budget=4 * seconds + 4), *(MODEL.format(name=name) for name in names)]
    parts += [f'[targets.{POOL}]\nkind = "pool"\nmembers = {json.dumps(members)}\n']
    parts += [BOARD.format(name=name, root=root) for name in members]
    (root / "hil.toml").write_text("".join(parts), encoding="utf-8")


def copy_main_job(root: Path, boards: int) -> None:
    """Copy the bundled examples and their ``hil.toml``; add a pool of ``boards`` targets of this machine."""
    root.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "examples", root / "examples")
    members = [f"b{number}" for number in range(boards)]
    parts = [(REPOSITORY / "hil.toml").read_text(encoding="utf-8")]
    parts += [f'\n[targets.{POOL}]\nkind = "pool"\nmembers = {json.dumps(members)}\n']
    parts += [f'[targets.{name}]\nruntime = "onnxruntime"\nstore = "{root}/stores/{name}"\n' for name in members]
    (root / "hil.toml").write_text("".join(parts), encoding="utf-8")


def run(root: Path, *args: str) -> tuple[float, int, dict[str, Any]]:
    """Run pytest in the project; return its seconds from start to end, its exit code and its report."""
    others = sorted({point.name for point in entry_points(group="pytest11")} - {"hil", "xdist", "xdist.looponfail"})
    off = [word for name in ("cacheprovider", *others) for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", *off, "--pyargs", "hil.suites", *args]
    env = {**os.environ, "XDG_CACHE_HOME": str(root / "cache"), "CI": "true"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # without byte code each process would compile the library again
    (root / "report" / "report.json").unlink(missing_ok=True)
    began = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    path = root / "report" / "report.json"
    if not path.exists():
        sys.exit(f"pool: a run left no report: {shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds, done.returncode, json.loads(path.read_text(encoding="utf-8"))


def judged(report: dict[str, Any], rows: Sequence[str]) -> tuple[int, int]:
    """Return how many rows of these checks passed, and how many boards judged them."""
    passed = [check for check in report["checks"] if check["id"] in rows and check["verdict"] == "passed"]
    return len(passed), len({check["board"] for check in passed})
