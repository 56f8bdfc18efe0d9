"""A user's project in a folder of its own: a small real model, real data, a ``hil.toml``, and pytest run on it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.report.write_report import finish
from tests import warm_start
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

REPORT_COMMANDS = {"gate", "verify", "attest", "checks", "history", "compare", "accept"}
"""Commands of ``hil`` that read reports and start no process."""

SUITES = ("--pyargs", "hil.suites")
UNUSED = ("cacheprovider", "hypothesispytest", "benchmark", "labgrid", "unraisableexception")
QUIET = tuple(word for name in UNUSED for word in ("-p", f"no:{name}"))
"""Plugins that are off unless a test loads one (``-p benchmark``), because each adds up to a second to every run.

``unraisableexception`` collects garbage five times at the end of every run.
"""

FEATURES, CLASSES, SAMPLES = 6, 4, 400
CONFIG = """
[project]
history = "none"

[models.toy]
path = "toy.onnx"
data = "validation.npz"
task = "classification"
precisions = ["fp32"]

[models.toy.limits]
latency = { p99 = "5 s" }
memory = "4 GiB"
system_memory = "100 %"

[measure]
duration = "0.5 s"
warmup = "0.1 s"
budget = "4 s"
soak = 400
examples = 10

[gate]
require = ["contract.*", "parity.*", "latency.p99", "memory.peak"]
evidence = "host"
"""


def toy(path: Path, *, extra: str | None = None, op: str = "Gemm") -> None:
    """Write a linear classifier ``x`` [batch, 6] -> ``scores`` [batch, 4]; ``extra`` names a second output, all NaN."""
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(FEATURES, CLASSES)).astype(np.float32)
    nodes = [helper.make_node(op, ["x", "w", "b"], ["scores"], name="scores")]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])]
    initializers = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.zeros(CLASSES, np.float32), "b")]
    if extra is not None:
        initializers.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
        nodes.append(helper.make_node("Mul", ["x", "zero"], ["nothing"], name="nothing"))
        nodes.append(helper.make_node("Div", ["nothing", "zero"], [extra], name="undefined"))
        outputs.append(helper.make_tensor_value_info(extra, TensorProto.FLOAT, ["batch", FEATURES]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)


def samples(n: int = SAMPLES, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Return ``x`` and, as ``labels``, the classes that the linear classifier predicts for it."""
    weights = np.random.default_rng(7).normal(size=(FEATURES, CLASSES)).astype(np.float32)
    x = np.random.default_rng(seed).normal(size=(n, FEATURES)).astype(np.float32)
    return {"x": x, "labels": (x @ weights).argmax(axis=1).astype(np.int64)}


def save(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Write an ``.npz`` file."""
    np.savez(path, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle


@dataclass
class RunResult:
    """The exit code of a command, its output and the report that it left."""

    code: int
    out: str
    report: dict[str, Any] | None

    def verdict(self, check_id: str, precision: str = "fp32") -> str:
        """Return the verdict of one check."""
        return str(self.check(check_id, precision)["verdict"])

    def check(self, check_id: str, precision: str = "fp32") -> dict[str, Any]:
        """Return one check of the report."""
        assert self.report is not None, self.out
        return next(c for c in self.report["checks"] if c["id"] == check_id and c["precision"] == precision)


@dataclass
class Project:
    """A folder with a model, data and ``hil.toml``; ``env`` keeps its engines out of the user's cache."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path) -> Project:
        """Create a project that passes; tests break it."""
        toy(root / "toy.onnx")
        save(root / "validation.npz", samples())
        (root / "hil.toml").write_text(CONFIG)
        project = cls(root)
        project.env = {
            **os.environ,
            "XDG_CACHE_HOME": str(root / "cache"),
            "PYTHONPATH": os.pathsep.join([str(root), os.environ["PYTHONPATH"]]),
            "CI": "true",  # the rules of a pipeline, in which no selection of tests is a trial
        }
        for name in [name for name in project.env if name.startswith(("PYTEST_", "COV_", "GITHUB_", "GITLAB_"))]:
            del project.env[name]
        return project

    @property
    def toml(self) -> Path:
        """The path of the project's ``hil.toml``."""
        return self.root / "hil.toml"

    def edit(self, old: str, new: str) -> None:
        """Replace text in ``hil.toml``; the text must exist."""
        text = (self.root / "hil.toml").read_text()
        assert old in text
        (self.root / "hil.toml").write_text(text.replace(old, new))

    def require(self, *names: str) -> None:
        """Make the policy require only these checks, so that a run can omit the others."""
        self.edit('["contract.*", "parity.*", "latency.p99", "memory.peak"]', json.dumps(names))

    def limit_frame_rate(self) -> None:
        """Add a limit on the frame rate. Its slowest second needs a window of two seconds."""
        self.edit('memory = "4 GiB"', 'fps = 1\nmemory = "4 GiB"')
        self.edit('duration = "0.5 s"', 'duration = "2.2 s"')

    def keep_history(self) -> None:
        """Store runs in a history, as is the default."""
        self.edit('history = "none"\n', "")

    def command(self, *args: str, python: tuple[str, ...] = ()) -> list[str]:
        """Return the command line that ``run`` executes, without the plugins of ``UNUSED``."""
        return [sys.executable, *python, "-m", "pytest", *QUIET, *args]

    def run(self, *args: str, python: tuple[str, ...] = (), timeout: float = 120) -> RunResult:
        """Run pytest in the project, and return its exit code, output and report."""
        done = warm_start.run(self.command(*args, python=python), cwd=self.root, env=self.env, timeout=timeout)
        return RunResult(done.returncode, done.stdout + done.stderr, self.report())

    def hil(self, *args: str) -> RunResult:
        """Run ``hil …`` in the project; a command of ``REPORT_COMMANDS`` runs in this process, which is faster."""
        if args[0] in REPORT_COMMANDS:
            return self._hil_here(args)
        command = [sys.executable, "-c", "import sys; from hil.cli import main; sys.exit(main())", *args]
        done = warm_start.run(command, cwd=self.root, env=self.env, timeout=120)
        return RunResult(done.returncode, done.stdout + done.stderr, self.report())

    def _hil_here(self, args: tuple[str, ...]) -> RunResult:
        from hil.cli import main

        with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
            patch.chdir(self.root)
            for name in os.environ.keys() - self.env.keys():
                patch.delenv(name)
            for name, value in self.env.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = main(args)
            return RunResult(code, out.getvalue(), self.report())

    def add_own_check(self, *required: str, value: float = 1.0) -> None:
        """Add a check of the user's own with a limit of 2; the policy requires it and ``required``."""
        (self.root / "test_own.py").write_text(
            f"def test_own(hil_check): hil_check.at_most('grasp.error', {value}, '2 mm')\n"
        )
        self.require("grasp.error", *required)

    def add_plain_test(self) -> None:
        """Add a test that passes and has no check: its run opens no session."""
        (self.root / "test_plain.py").write_text("def test_plain(): pass\n")

    def write_passed_report(self) -> None:
        """Write the passed report of an earlier run to ``report``."""
        finish(self.root / "report", sample.passed())

    def report(self) -> dict[str, Any] | None:
        """Return the content of ``report.json``; None if there is no report."""
        path = self.root / "report" / "report.json"
        return json.loads(path.read_text()) if path.exists() else None
