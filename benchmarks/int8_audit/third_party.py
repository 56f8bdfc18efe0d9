"""Networks of other projects, audited: healthy, with one wrong scale, and calibrated on noise.

A wrong scale counts as named if the reason of ``int8.ranges`` or ``int8.repeatable`` has the tensor's name. Noise
counts as named if the reason of ``int8.ranges`` has any tensor's name, or the reason of ``int8.calibration_set`` has
any input's name.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.accuracy.subjects import SUBJECTS
from benchmarks.int8_audit.faults import Fault, edited
from benchmarks.int8_audit.project import Project, audit
from benchmarks.parity.third_party import NAMES, third_party
from hil.config.load import load
from hil.diagnose.graph import QUANTIZE, Graph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.config.load import Config

Random = np.random.Generator

CALIBRATION, VALIDATION = 128, 96
EVERY = {"speech": 8}
"""Consecutive steps of speech have one voice; only one of so many is a sample."""
FACTOR = 8.0

CONFIG = """
[models.{model}]
path = "model.onnx"
precisions = ["fp32", "int8"]
data = "validation.npz"

[models.{model}.calibration]
data = "calibration.npz"
method = "{method}"
"""


def samples(name: str, count: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return ``count`` samples of the kind that the network ``name`` reads, by input."""
    every = EVERY.get(name, 1)
    arrays = SUBJECTS[name].make(third_party(name).model, every * count, seed)
    return {key: array[::every] for key, array in arrays.items()}


class ThirdParty(Project):
    """A project of one of ``NAMES``, with samples of its own kind."""

    @classmethod
    def of(cls, root: Path, random: Random, name: str) -> ThirdParty:
        """Return a healthy project; ``random`` decides the method and the samples."""
        method = str(random.choice(["entropy", "minmax", "percentile"]))
        seed = int(random.integers(1 << 16))
        calibration = samples(name, CALIBRATION, seed)
        return cls(root, name, method, calibration, facts={"method": method, "seed": seed})

    def write(self) -> Config:
        """Write all files of the project and return its config."""
        self.root.mkdir(parents=True, exist_ok=True)
        model = third_party(self.model).model
        onnx.save(model, str(self.root / "model.onnx"))
        # Pages and lines of text number their samples from the seed on.
        validation = samples(self.model, VALIDATION, self.facts["seed"] + (1 << 20))
        for name, arrays in (("validation", validation), ("calibration", self.calibration)):
            np.savez(self.root / f"{name}.npz", **arrays)
        (self.root / "hil.toml").write_text(CONFIG.format(model=self.model, method=self.method))
        return load(self.root / "hil.toml")


def _wrong_scale(factor: float, project: Project, random: Random) -> Config:
    """Multiply the scale of one activation's Q and DQ nodes by ``factor``."""

    def edit(proto: onnx.ModelProto) -> None:
        graph = Graph(proto)
        pairs = [node for node in graph.nodes if node.op_type == QUANTIZE and node.input[0] in graph.varying]
        chosen = pairs[int(random.integers(len(pairs)))]
        project.facts["tensor"] = chosen.input[0]
        tensor = numpy_helper.to_array(graph.constants[chosen.input[1]]) * np.float32(factor)
        name = f"{chosen.input[1]}.wrong"
        proto.graph.initializer.append(numpy_helper.from_array(tensor, name))
        for node in proto.graph.node:
            if node is chosen or chosen.output[0] in node.input or node.output[0] == chosen.output[0]:
                node.input[1] = name

    return edited(project, edit)


def _noise(project: Project, random: Random) -> Config:
    """Calibrate on noise of the samples' mean and deviation."""
    for name in project.inputs:
        real = project.calibration[name]
        made = random.normal(real.mean(), real.std(), real.shape)
        project.calibration[name] = np.clip(made, real.min(), real.max()).astype(real.dtype)
    return project.write()


FAULTS = (
    Fault("one saturated scale", partial(_wrong_scale, 1 / FACTOR), ()),
    Fault("one scale too wide", partial(_wrong_scale, FACTOR), ()),
    Fault("calibrated on noise", _noise, ()),
)
KINDS = ("healthy", *(fault.kind for fault in FAULTS))


def audited(name: str, fault: Fault | None, seed: int, root: Path) -> dict[str, Any]:
    """Audit the network ``name`` with ``fault`` planted, or a healthy calibration of it, and return the row."""
    kind = "healthy" if fault is None else fault.kind
    random = np.random.default_rng([seed, NAMES.index(name), KINDS.index(kind)])
    project = ThirdParty.of(root, random, name)
    config = project.write() if fault is None else fault.plant(project, random)
    results = audit(config, name, root)
    reasons = {check: result.reason for check, result in results.items() if result.verdict.value != "passed"}
    row = {"kind": kind, "seed": seed, "model": name, "reasons": reasons, "drawn": project.facts}
    if fault is None:
        return {**row, "accused": bool(reasons)}
    found, named = outcome(project, reasons)
    return {**row, "found": found, "named": named}


def outcome(project: Project, reasons: Mapping[str, str]) -> tuple[bool, bool]:
    """Return whether a check did not pass, and whether a reason names the fault.

    A wrong scale is named by its tensor, noise by any tensor or input (see the module).
    """
    if "tensor" in project.facts:
        name = repr(project.facts["tensor"])
        return bool(reasons), any(name in reasons.get(check, "") for check in ("int8.ranges", "int8.repeatable"))
    inputs = any(repr(name) in reasons.get("int8.calibration_set", "") for name in project.inputs)
    return bool(reasons), "'" in reasons.get("int8.ranges", "") or inputs
