from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hil.errors import ExitCode
from tests.plugins.project import Project
from tests.proposals import networks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A model with real data on this machine's CPU, and its own engine store."""
    return Project.make(tmp_path)


def write_corrupted(project: Project, name: str = "corrupted.onnx", added: float | None = None) -> None:
    """Write a copy of the model in which one weight is 40, or ``added`` larger than in the model."""
    model = onnx.load(str(project.root / "toy.onnx"))
    tensor = model.graph.initializer[0]
    array = numpy_helper.to_array(tensor).copy()
    array[2, 1] = 40 if added is None else array[2, 1] + added
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, str(project.root / name))


def test_the_node_at_fault_is_named_and_gets_a_bundle(project: Project) -> None:
    """A corrupted weight in the deployed file is reported with node, operator, position, cause and a bundle."""
    write_corrupted(project)
    ran = project.hil("diagnose", "toy", "--precision", "fp32", "--deployed", "corrupted.onnx")
    assert ran.code == ExitCode.FAILED, ran.out
    assert "'scores' (Gemm, node 1 of 1), weights differ" in ran.out
    assert "1 of 24 elements differ, most at [2, 1]: 40" in ran.out
    assert (project.root / "report/repro/toy-fp32/repro.py").is_file()


def test_a_sound_engine_has_no_node_at_fault(project: Project) -> None:
    """Outputs within tolerance give exit code 0 and no bundle."""
    ran = project.hil("diagnose", "toy", "--precision", "fp32")
    assert ran.code == 0, ran.out
    assert "no node is at fault" in ran.out
    assert not (project.root / "report/repro").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toy", "--precision", "int9"), "--precision int9"),
        (("toi", "--precision", "fp32"), "toi"),
        (("toy", "--precision", "fp32", "--deployed", "absent.onnx"), "absent.onnx does not exist"),
    ],
)
def test_mistakes_are_one_message(project: Project, arguments: tuple[str, ...], message: str) -> None:
    """A wrong option is named, with exit code 4."""
    ran = project.hil("diagnose", *arguments)
    assert ran.code == ExitCode.USER_ERROR, ran.out
    assert message in ran.out
    assert "Traceback" not in ran.out


@pytest.mark.parametrize(("added", "verdict"), [(None, "failed"), (0.01, "inconclusive")])
def test_a_parity_check_that_does_not_pass_names_its_node(project: Project, added: float | None, verdict: str) -> None:
    """A run diagnoses outputs outside their tolerance: the cause is in reason, details and the report's folder."""
    write_corrupted(project, added=added)
    project.edit('path = "toy.onnx"', 'path = "toy.onnx"\ndeployed = "corrupted.onnx"')
    ran = project.run("--pyargs", "hil.suites", "-k", "test_parity and test_outputs")
    result = ran.check("parity.outputs")
    assert result["verdict"] == verdict, result["reason"]
    assert "the error starts at node 'scores' (Gemm, node 1 of 1), weights differ" in result["reason"], ran.out
    assert result["details"]["diagnosis"]["culprits"][0]["cause"] == "weights differ"
    assert (project.root / "report" / result["details"]["repro"] / "environment.json").is_file()


def test_deployed_int8_needs_its_nodes(project: Project) -> None:
    """A deployed file without Q/DQ nodes is refused for INT8."""
    write_corrupted(project)
    project.edit('precisions = ["fp32"]', 'precisions = ["int8"]\ndeployed = "corrupted.onnx"')
    ran = project.hil("diagnose", "toy", "--precision", "int8")
    assert ran.code == ExitCode.FAILED, ran.out
    assert "has no QuantizeLinear" in ran.out


def test_equal_names_that_the_data_refutes_are_separated(project: Project) -> None:
    """``hil parity`` runs files whose dimensions of one name have different sizes in the data, as a run does."""
    networks.lengths(project.root / "lengths.onnx")
    random = np.random.default_rng(0)
    arrays = {"a": random.normal(size=(5, 128)), "b": random.normal(size=(5, 64))}
    np.savez(project.root / "lengths.npz", **{k: v.astype(np.float32) for k, v in arrays.items()})  # type: ignore[arg-type]  # no array is named allow_pickle
    ran = project.hil("parity", "lengths.onnx", "lengths.onnx", "--data", "lengths.npz", "--batch", "2")
    assert ran.code == 0, ran.out


def test_two_files_are_compared_without_a_config(project: Project) -> None:
    """``hil parity`` passes equal files, names a corrupted file's worst element, and reports unsuitable data."""
    write_corrupted(project)
    good = project.hil("parity", "toy.onnx", "toy.onnx", "--data", "validation.npz")
    assert good.code == 0, good.out
    bad = project.hil("parity", "toy.onnx", "corrupted.onnx", "--data", "validation.npz", "--batch", "7")
    assert bad.code == ExitCode.FAILED
    assert "OUT scores" in bad.out
    assert "worst at sample" in bad.out
    np.savez(project.root / "other.npz", z=np.zeros((3, 6), np.float32))
    other = project.hil("parity", "toy.onnx", "toy.onnx", "--data", "other.npz")
    assert other.code == ExitCode.USER_ERROR
    assert "has no array 'x'" in other.out
