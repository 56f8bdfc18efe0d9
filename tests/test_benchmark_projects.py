from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import networks, projects
from benchmarks.results.judging.suites import MODELS, TRAINED
from benchmarks.tensorrt.__main__ import BENCHMARKS, parsed
from hil.config.load import load
from hil.plan import expand

if TYPE_CHECKING:
    from pathlib import Path

BARE = ("bare.py", "bare_cuda.py", "polygraphy_loop.py")


def planned(path: Path) -> set[tuple[str, str]]:
    """Return the models and precisions whose outputs the project's plan compares on the GPU."""
    return {(row.model, row.precision) for row in expand(load(path), projects.TARGET).of("parity.outputs")}


def expected(names: tuple[str, ...]) -> set[tuple[str, str]]:
    """Return all precisions of these models, INT8 by both routes."""
    explicit = {(name, precision) for name in names for precision in projects.FULL}
    return explicit | {(f"{name}-implicit", "int8") for name in names}


def test_networks_are_compared_in_each_precision(tmp_path: Path) -> None:
    """The project for the exported networks is valid and compares each in all precisions, INT8 by both routes."""
    for name in networks.NETWORKS:
        (tmp_path / f"{name}.onnx").touch()
        for data in ("validation", "calibration"):
            np.savez(tmp_path / f"{name}-{data}.npz", x=np.zeros((1, 1), np.float32))
    path = projects.networks_project(tmp_path, "/opt/trt/python", "h200", networks.NETWORKS, tmp_path / "store")
    assert planned(path) == expected(networks.NETWORKS)
    config = load(path)
    assert config.spec.gate.evidence == "device"
    assert config.target(projects.TARGET).board == "h200"
    assert {config.spec.models[f"{name}-implicit"].calibration.route for name in networks.NETWORKS} == {"implicit"}  # type: ignore[union-attr]  # the template has one for each


def test_bundled_models_are_compared_in_each_precision(tmp_path: Path) -> None:
    """The bundled models are compared in all precisions; without a board's name the evidence is ``host``."""
    path = projects.bundled_project(tmp_path, "/opt/trt/python", None)
    assert planned(path) == expected(tuple(projects.BUNDLED))
    assert load(path).spec.gate.evidence == "host"


def test_trained_models_are_compared_in_each_precision(tmp_path: Path) -> None:
    """The projects of the recurrent model and of the detector are valid and plan each engine that is judged."""
    path = projects.filter_project(tmp_path / "filter", "/opt/trt/python", "h200", level=1)
    plan = expand(load(path), projects.TARGET)
    assert {(row.model, row.precision) for row in plan.of("sequence.free_running")} == TRAINED["filter"]
    assert [model.run.cuda_graph for model in load(path).spec.models.values()] == [False, True]
    (tmp_path / "detector.onnx").touch()
    for data in ("validation", "calibration"):
        np.savez(tmp_path / f"detector-{data}.npz", images=np.zeros((1, 3, 320, 320), np.float32))
    assert planned(projects.detector_project(tmp_path, "/opt/trt/python", "h200")) == TRAINED["detector"]


def test_judging_requires_each_model() -> None:
    """The results are judged for exactly the models of the projects."""
    assert set(MODELS) == {*networks.NETWORKS, *projects.BUNDLED}


@pytest.mark.parametrize("name", list(networks.DATA))
def test_drawn_data_is_repeatable_and_distinct(name: str) -> None:
    """Samples depend only on the seed, have about unit deviation, and differ from each other."""
    drawn = networks.DATA[name](3, 5)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, networks.DATA[name](3, 5))
    assert not np.array_equal(drawn, networks.DATA[name](3, 6))
    assert not np.array_equal(drawn[0], drawn[1])
    assert 0.5 < drawn.std() < 2


@pytest.mark.parametrize("name", BARE)
def test_bare_scripts_import_nothing_of_hil(repository: Path, name: str) -> None:
    """The bare scripts import nothing of hil, so that both sides of a comparison do not share a fault."""
    tree = ast.parse((repository / "benchmarks" / "tensorrt" / name).read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert modules
    assert not [module for module in modules if module.split(".")[0] == "hil"]


def test_provisioning_is_measured_first() -> None:
    """Provisioning is measured first, since another benchmark would fill the store."""
    assert next(iter(BENCHMARKS)) == "provision"


def test_command_line_names_interpreter_and_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """The benchmark's command line has a name, ``--out`` and ``--board``, and requires ``--python``."""
    arguments = parsed(["all", "--python", "/opt/trt/python", "--out", "results", "--board", "h200"])
    assert (arguments.name, arguments.board, arguments.quick) == (["all"], "h200", False)
    with pytest.raises(SystemExit):
        parsed(["all", "--out", "results"])
    assert "--python" in capsys.readouterr().err
