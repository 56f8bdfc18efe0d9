"""A user's project with third-party models: ``hil init``, the user's edits, ``hil doctor``, a run, ``hil gate``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.zoo.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.zoo.models import Model

VALIDATION_SEED, CALIBRATION_SEED = 1_000, 2_000

SHORT = """
[measure]
duration = "100 ms"
warmup   = "10 ms"
budget   = "200 ms"
soak     = 200
examples = 2
"""
"""Just enough of everything for a test; a benchmark measures at the default settings."""

HIL = (sys.executable, "-c", "import sys; from hil.cli import main; sys.exit(main())")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "hil.suites", "--target=cpu", "-q")
NOT_OURS = ("PYTEST_", "COV_", "GITHUB_", "GITLAB_")
"""Variables of an outer pytest or of a CI system that a user's shell does not have."""


def plain_run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with its output as text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@dataclass
class Project:
    """A project below ``root`` with ``names`` of ``models``, whose files are below ``packages``.

    Attributes:
        run: starts a command, as ``plain_run`` does.
        models: ``MODELS``, or other data and edits for some of them.
        outputs: the output of each step, by the name of the step.
    """

    root: Path
    packages: Path
    names: Sequence[str]
    run: Callable[..., subprocess.CompletedProcess[str]] = plain_run
    models: Mapping[str, Model] = field(default_factory=lambda: MODELS)
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def toml(self) -> Path:
        """The path of the project's ``hil.toml``."""
        return self.root / "hil.toml"

    def init(self) -> int:
        """Run ``hil init`` for all models, and return its exit code."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self._step("init", [*HIL, "init", *(str(self.packages / self.models[name].file) for name in self.names)])

    def write_data(self) -> None:
        """Write the validation and calibration data of each model, and the module with the text recognizers' score."""
        shutil.copyfile(Path(__file__).with_name("scores.py"), self.root / "scores.py")
        for name in self.names:
            model = self.models[name]
            for part, count, seed in (
                ("validation", model.samples, VALIDATION_SEED),
                ("calibration", model.calibration, CALIBRATION_SEED),
            ):
                if count:
                    arrays = model.data(self.packages / model.file, count, seed)
                    np.savez(self.root / f"{name}-{part}.npz", **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle

    def edit(self, measure: str = "") -> None:
        """Edit ``hil.toml`` as the models' user would: real data, confirmed guesses, INT8 where it is calibrated."""
        head, *tables = re.split(
            r"(?=^# The model's own inputs and outputs)", self.toml.read_text(), flags=re.MULTILINE
        )
        last, gate = re.split(r"(?=^# What the release pipeline)", tables.pop(), flags=re.MULTILINE)
        edited = [
            _edited(table, name, self.models[name]) for name, table in zip(self.names, [*tables, last], strict=True)
        ]
        gate = _replaced(gate, "warnings = true ", "warnings = false ")
        self.toml.write_text("".join([head, *edited, gate, measure]))

    def doctor(self) -> int:
        """Run ``hil doctor cpu``, and return its exit code."""
        return self._step("doctor", [*HIL, "doctor", "cpu"])

    def pytest(self, *options: str) -> int:
        """Run the suites on this machine, and return the exit code."""
        return self._step("pytest", [*PYTEST, *options])

    def gate(self) -> int:
        """Run ``hil gate``, and return its exit code."""
        return self._step("gate", [*HIL, "gate", "report/report.json"])

    def tune(self, model: str, builds: int, *more: str) -> int:
        """Run ``hil int8 tune`` for ``model`` with at most ``builds`` builds, and return the exit code.

        The outcome is in ``tuned.json`` below ``root``.
        """
        options = ["--no-write", "--builds", str(builds), "--json", "tuned.json", *more]
        return self._step("tune", [*HIL, "int8", "tune", model, *options])

    def checks(self) -> list[dict[str, Any]]:
        """Return the rows of the report."""
        report = json.loads((self.root / "report" / "report.json").read_text())
        return list(report["checks"])

    def _step(self, name: str, command: Sequence[str]) -> int:
        done = self.run(command, cwd=self.root, env=self._environment(), timeout=1800)
        self.outputs[name] = done.stdout + done.stderr
        return int(done.returncode)

    def _environment(self) -> Mapping[str, str]:
        mine = {name: text for name, text in os.environ.items() if not name.startswith(NOT_OURS)}
        return {**mine, "XDG_CACHE_HOME": str(self.root / "cache"), "COLUMNS": "120", "CI": "true"}


def _edited(table: str, name: str, model: Model) -> str:
    """Return a model's tables with real data, without guesses, and with INT8 if it is calibrated."""
    table = _replaced(table, 'data       = "synthetic"', f'data       = "{name}-validation.npz"')
    table = re.sub(r"^guessed +=.*\n", "", table, flags=re.MULTILINE)
    for old, new in model.edits:
        table = _replaced(table, old, new)
    if model.tolerance:
        (header,) = re.findall(r"^# \[(models\.\S+\.tolerances)\.int8\]$", table, flags=re.MULTILINE)
        bounds = f'{{ {model.tolerance}, reason = "few samples" }}'
        table += f"\n[{header}]\n" + "".join(f"{one} = {bounds}\n" for one in ("fp32", "int8"))
    if not model.calibration:
        return table
    table = _replaced(table, 'precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    table = re.sub(r"^# (\[models\.\S+\.calibration\])$", r"\1", table, flags=re.MULTILINE)
    data = f'data    = "{name}-calibration.npz"\nmethod  = "{model.method}"'
    return _replaced(table, '# data    = "calibration.npz"', data)


def _replaced(text: str, old: str, new: str) -> str:
    """Return ``text`` with its only ``old`` replaced. Raise ``ValueError`` if it does not occur exactly once."""
    if text.count(old) != 1:
        raise ValueError(f"{old!r} occurs {text.count(old)} times in what hil init wrote:\n{text}")
    return text.replace(old, new)
