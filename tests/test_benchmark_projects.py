from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import networks, projects
from benchmarks.results.judging.suites import MODELS
from benchmarks.tensorrt.__main__ import BENCHMARKS, parsed
from hil.config.load import load
from hil.plan import expand

if TYPE_CHECKING:
    from pathlib import Path

BARE = ("bare.py", "bare_cuda.py", "polygraphy_loop.py")


def asked(path: Path) -> set[tuple[str, str]]:
    """Each model and precision whose outputs the project's plan compares on the GPU."""
    return {(row.model, row.precision) for row in expand(load(path), projects.TARGET).of("parity.outputs")}


def expected(names: tuple[str, ...]) -> set[tuple[str, str]]:
    """Every precision of every model, INT8 by both routes."""
    found = {(name, precision) for name in names for precision in projects.FULL}
    return found | {(f"{name}-implicit", "int8") for name in names}


def test_networks_are_asked_for_in_every_precision(tmp_path: Path) -> None:
    """The project written for the exported networks is valid and compares each in all precisions, INT8 twice."""
    for name in networks.NETWORKS:
        (tmp_path / f"{name}.onnx").touch()
        for data in ("validation", "calibration"):
            np.savez(tmp_path / f"{name}-{data}.npz", x=np.zeros((1, 1), np.float32))
    path = projects.networks_project(tmp_path, "/opt/trt/python", "h200", networks.NETWORKS, tmp_path / "store")
    assert asked(path) == expected(networks.NETWORKS)
    config = load(path)
    assert config.spec.gate.evidence == "device"
    assert config.target(projects.TARGET).board == "h200"
    assert {config.spec.models[f"{name}-implicit"].calibration.route for name in networks.NETWORKS} == {"implicit"}  # type: ignore[union-attr]  # the template gives each one


def test_bundled_models_are_asked_for_in_every_precision(tmp_path: Path) -> None:
    """So are the two bundled models, whose data stays where it is; without a board's name evidence is the host's."""
    path = projects.bundled_project(tmp_path, "/opt/trt/python", None)
    assert asked(path) == expected(tuple(projects.BUNDLED))
    assert load(path).spec.gate.evidence == "host"


def test_judging_waits_for_every_model() -> None:
    """A model that a project has is one whose absence from the results is missed."""
    assert set(MODELS) == {*networks.NETWORKS, *projects.BUNDLED}


@pytest.mark.parametrize("name", list(networks.DATA))
def test_data_is_the_same_each_time_and_unlike_its_neighbours(name: str) -> None:
    """Validation and calibration samples are drawn by seed, finite, of unit scale, and no two of them are alike."""
    made = networks.DATA[name](3, 5)
    assert made.dtype == np.float32
    assert np.array_equal(made, networks.DATA[name](3, 5))
    assert not np.array_equal(made, networks.DATA[name](3, 6))
    assert not np.array_equal(made[0], made[1])
    assert 0.5 < made.std() < 2


@pytest.mark.parametrize("name", BARE)
def test_what_we_are_measured_against_is_not_ours(repository: Path, name: str) -> None:
    """The bare scripts import nothing of hil: else both sides of the comparison would have the same faults."""
    tree = ast.parse((repository / "benchmarks" / "tensorrt" / name).read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert modules
    assert not [module for module in modules if module.split(".")[0] == "hil"]


def test_all_begins_with_what_needs_an_empty_store() -> None:
    """Provisioning is measured first: after any other benchmark its cold build would not be cold."""
    assert next(iter(BENCHMARKS)) == "provision"


def test_command_line_names_interpreter_and_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an interpreter that has TensorRT there is nothing to measure: said by the command line itself."""
    arguments = parsed(["all", "--python", "/opt/trt/python", "--out", "results", "--board", "h200"])
    assert (arguments.name, arguments.board, arguments.quick) == (["all"], "h200", False)
    with pytest.raises(SystemExit):
        parsed(["all", "--out", "results"])
    assert "--python" in capsys.readouterr().err
