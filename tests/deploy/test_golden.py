"""Golden samples are computed only with the complete model that was judged."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from hil.checks.comparison import Comparison
from hil.config.load import load
from hil.config.spec import TargetSpec
from hil.datasets import open_dataset
from hil.deploy.golden import STEPS, Golden, golden, run_golden
from hil.dtypes import from_file
from hil.errors import UserError
from hil.files.digests import file_digest
from hil.onnx_files.identity import identity_of, sources_of
from hil.onnx_files.signature import Signature, read_signature
from hil.report.schema import ModelUsed
from hil.results import Verdict
from hil.targets.target import open_target
from tests import recurrent
from tests.datasets.test_sequence_folder import opened
from tests.models import externalize
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

TABLES = """
[models.toy.on.robot-7.build]
plugins = ["plugin.so", "other.so"]

[models.toy.on.robot-8]
engine = "robot.plan"
"""
FILES = {
    "scoring.py": "import steps\ndef score(outputs, labels):\n    return steps.each(outputs, labels)\n",
    "steps.py": "def each(outputs, labels):\n    return [1.0] * len(labels[''])\n",
    "plugin.so": "plugin",
    "other.so": "other",
    "robot.plan": "plan",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose model has external data, a plugin and a custom metric."""
    project = Project.make(tmp_path)
    externalize(tmp_path / "toy.onnx")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    project.edit('task = "classification"', 'task = "scoring:score"\nbuild = { plugins = ["plugin.so"] }')
    project.edit("[measure]", f"{TABLES}\n[measure]")
    return tmp_path


def _judged(root: Path) -> ModelUsed:
    """Return the model as recorded in a report."""
    config = load(root / "hil.toml")
    signature = read_signature(root / "toy.onnx")
    data = open_dataset(
        "validation.npz",
        config=config,
        model="toy",
        signature=signature,
        preprocess=None,
        ranges={},
        where="hil.toml:1",
    )
    parts = sources_of(config, "toy", "cpu").parts()
    return ModelUsed(
        name="toy",
        path="toy.onnx",
        digest=file_digest(root / "toy.onnx"),
        identity=identity_of(parts),
        parts=parts,
        data="validation.npz",
        data_digest=data.digest,
        samples=data.count,
        synthetic=False,
    )


def test_golden_samples_of_the_judged_model(root: Path) -> None:
    """``golden`` returns as many samples as requested, for the CPU and for a robot with an engine file."""
    used = _judged(root)
    for target in ("cpu", "robot-8"):
        assert golden(load(root / "hil.toml"), target, used, 4).count == 4


@pytest.mark.parametrize("part", ["external-data", "module", "plugin"])
def test_another_part_is_another_model(root: Path, part: str) -> None:
    """A changed part of the model is an error that names the part, the target and the fix."""
    used = _judged(root)
    name = next(used_part.name for used_part in used.parts if used_part.role == part and used_part.name != "scoring.py")
    with (root / name).open("ab") as file:
        file.write(b"#")
    with pytest.raises(UserError, match=rf"model toy is not the one .*{part} {name} was changed.*on target 'cpu': run"):
        golden(load(root / "hil.toml"), "cpu", used, 4)


def test_a_plugin_of_the_robot_alone_is_refused(root: Path) -> None:
    """A plugin that only the robot's table names was not judged, and is refused."""
    with pytest.raises(UserError, match=r"plugin other\.so was added.*on target 'robot-7'"):
        golden(load(root / "hil.toml"), "robot-7", _judged(root), 4)


def test_a_report_that_lists_no_parts(root: Path) -> None:
    """A report of an earlier version, which does not list the model's parts, is refused."""
    bare = _judged(root).model_copy(update={"parts": (), "identity": None})
    with pytest.raises(UserError, match=r"does not list its parts.*run the checks again"):
        golden(load(root / "hil.toml"), "cpu", bare, 4)


def test_golden_samples_keep_the_types_that_numpy_lacks() -> None:
    """The file of the golden samples can be read back with the type of each tensor."""
    for name in ("bfloat16", "float8_e5m2", "int4"):
        array = np.array([1, -2], ml_dtypes.__dict__[name])
        samples = Golden("toy", Signature((), ()), (({"x": array}, [("y", array)]),), 2, "reference")
        with np.load(io.BytesIO(samples.content()), allow_pickle=False) as stored:
            assert {key: str(from_file(stored[key]).dtype) for key in stored} == {
                "0/inputs/x": name,
                "0/outputs/y": name,
            }


@pytest.mark.parametrize("batch", [1, 2])
def test_golden_sequences_are_run_with_the_engine_s_own_state(tmp_path: Path, batch: int) -> None:
    """A sound engine reproduces the first steps of golden sequences; an engine that scales its state does not."""
    np.savez(tmp_path / "data.npz", x=recurrent.inputs(6, 250))
    data = opened(tmp_path, "data.npz", batch)
    config = load(tmp_path / "hil.toml")
    parts = sources_of(config, "m", "cpu").parts()
    used = ModelUsed(
        name="m",
        path="m.onnx",
        digest=file_digest(tmp_path / "m.onnx"),
        identity=identity_of(parts),
        parts=parts,
        data="data.npz",
        data_digest=data.digest,
        samples=data.count,
        synthetic=False,
    )
    samples = golden(config, "cpu", used, 4)
    assert (len(samples.batches), samples.count) == (4 // batch, 4 * STEPS)
    assert samples.content()
    with open_target("bench", TargetSpec(store=str(tmp_path / "store"))).start_agent() as agent:
        agent.hold("token", "tester")
        for scale, verdict in ((1.0, Verdict.PASSED), (0.9, Verdict.FAILED)):
            path = recurrent.write_cell(tmp_path / "engine.onnx", scale=scale)
            key = agent.adopt(agent.put_blob(path), "fp32", "onnxruntime", {}).key
            comparison = Comparison("fp32", samples=samples.count)
            with agent.load(key, {"threads": 1}, 60) as worker:
                run_golden(worker, comparison, samples)
            assert comparison.judge().verdict is verdict
