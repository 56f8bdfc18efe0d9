"""Whether a robot is of the kind that was judged. A fact that is unknown on both sides never matches."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from hil.deploy import refusals
from hil.report.canonical import report_digest
from hil.report.schema import EngineUsed
from hil.results import ExecutedOn
from tests.deploy.test_rollback import Rover, rover
from tests.jetson.trees import AGX_ORIN, ORIN_NX

if TYPE_CHECKING:
    from pathlib import Path

    from tests.jetson.trees import Tree

__all__ = ["rover"]

H200 = ExecutedOn(kind="gpu", name="NVIDIA H200", sm="9.0")
ORIN = ExecutedOn(kind="gpu", name="Orin", sm="8.7")


def engine(runtime: str, work: ExecutedOn | None = None, version: str = "1") -> EngineUsed:
    """Return a judged engine."""
    return EngineUsed(
        model="toy",
        precision="fp32",
        runtime=runtime,
        runtime_version=version,
        digest="0" * 64,
        key="k",
        size=1,
        build_seconds=0,
        cached=False,
        executed_on=work,
    )


def host(**changes: Any) -> dict[str, Any]:
    """Return the probed facts of a machine that is not a Jetson, with ``changes``."""
    facts: dict[str, Any] = {
        "machine": "x86_64",
        "cpu_model": "AMD EPYC 7J13",
        "board": {"compatible": None, "not_readable": {"compatible": "there is none"}},
        "runtimes": {"tensorrt": "1", "onnxruntime": "1"},
        "facts": {"tensorrt": {"gpu": "NVIDIA H200", "sm": "9.0", "cuda": "12.8"}},
    }
    return {**facts, **changes}


def gpu(name: str | None = "NVIDIA H200", sm: str | None = "9.0", cuda: str | None = "12.8") -> dict[str, Any]:
    """Return the probed facts of a machine with this GPU."""
    return host(facts={"tensorrt": {"gpu": name, "sm": sm, "cuda": cuda}})


def jetson(tree: Tree, root: Path, work: ExecutedOn = ORIN, **changes: Any) -> dict[str, Any]:
    """Return the probed facts of this Jetson, with ``changes`` to its device tree."""
    runtime = {"tensorrt": {"gpu": work.name, "sm": work.sm, "cuda": "12.6"}}
    return host(
        machine="aarch64", cpu_model="ARMv8 Processor rev 1 (v8l)", facts=runtime, board=tree.facts(root, **changes)
    )


def differences(judged: dict[str, Any], robot: dict[str, Any], *engines: EngineUsed, number: int = 0) -> list[str]:
    """Return the names of the facts in which the robot differs from the judged machine."""
    return [reason.split(":")[0] for reason in refusals.of_robot(engines, judged, robot, number)]


def test_the_same_kind_of_machine(tmp_path: Path) -> None:
    """A host with the judged CPU or GPU, and a Jetson with the judged module, have no differences."""
    both = [engine("tensorrt", H200), engine("onnxruntime")]
    assert differences(host(), host(), *both) == []
    orin = jetson(ORIN_NX, tmp_path)
    assert differences(orin, copy.deepcopy(orin), engine("tensorrt", ORIN), engine("onnxruntime")) == []


@pytest.mark.parametrize(
    ("robot", "differs"),
    [
        (gpu("NVIDIA L4", "8.9"), ["GPU", "SM"]),
        (gpu("NVIDIA H200 NVL"), ["GPU"]),
        (gpu(cuda="12.4"), ["CUDA version of the driver"]),
        (gpu(None, None, None), ["GPU", "SM", "CUDA version of the driver"]),
        (host(machine="aarch64"), ["architecture"]),
        (host(runtimes={}), ["tensorrt"]),
    ],
)
def test_the_gpu_of_a_host_is_compared(robot: dict[str, Any], differs: list[str]) -> None:
    """A host's GPU must have the judged name, SM and CUDA version of the driver."""
    assert differences(host(), robot, engine("tensorrt", H200)) == differs


def test_the_gpu_that_the_robot_uses_is_compared() -> None:
    """If the robot's config selects the second GPU, the second GPU is compared."""
    listed = [{"number": 1, "name": "NVIDIA L4", "sm": "8.9"}]
    assert differences(host(), host(gpus=listed), engine("tensorrt", H200), number=1) == ["GPU", "SM"]


def test_unidentified_machines_never_match(tmp_path: Path) -> None:
    """Each fact that is unknown on both sides is a difference."""
    assert differences({}, {}, engine("onnxruntime", version="")) == ["architecture", "CPU", "onnxruntime"]
    assert differences({}, {}, engine("tensorrt")) == [
        "architecture",
        "GPU",
        "SM",
        "CUDA version of the driver",
        "tensorrt",
    ]
    assert differences(host(), host(), engine("tensorrt", None)) == ["GPU", "SM"]
    assert differences(host(cpu_model=None), host(cpu_model=None), engine("onnxruntime")) == ["CPU"]
    for changes in ({"compatible": ["nvidia,p3767-0009", "nvidia,tegra234"]}, {"memory_total": 2**33}):
        unknown = jetson(ORIN_NX, tmp_path, **changes)
        assert differences(unknown, unknown, engine("onnxruntime")) == ["module"]
    no_l4t = jetson(ORIN_NX, tmp_path, nv_tegra_release=None, packages=None)
    assert differences(no_l4t, no_l4t, engine("onnxruntime")) == ["Jetson Linux"]
    # Without facts of the board only the CPU's name is left, and Jetsons of one generation share it.
    for unreadable in ({}, None, {"compatible": None}):
        blank = {**jetson(ORIN_NX, tmp_path), "board": unreadable}
        assert differences(blank, blank, engine("onnxruntime")) == ["CPU"]
        assert differences(blank, blank, engine("tensorrt", ORIN)) == ["module", "Jetson Linux"]


def test_another_jetson(tmp_path: Path) -> None:
    """A different module, Jetson Linux or runtime version is a difference."""
    orin, other = jetson(ORIN_NX, tmp_path / "a"), jetson(AGX_ORIN, tmp_path / "b")
    assert "module" in differences(orin, other, engine("onnxruntime"))
    assert "module" in differences(orin, host(), engine("onnxruntime"))
    assert differences(orin, {**orin, "runtimes": {"onnxruntime": "2"}}, engine("onnxruntime")) == ["onnxruntime"]
    release = jetson(ORIN_NX, tmp_path / "c", nv_tegra_release="# R36 (release), REVISION: 4.3", packages=None)
    assert "Jetson Linux" in differences(orin, release, engine("onnxruntime"))


def test_a_report_is_deployed_to_its_own_machine_only(rover: Rover) -> None:
    """``hil deploy`` accepts a report of this machine, and refuses it without a required check or a known CPU."""
    rover.deploy("first")
    listed = rover.root / "hil.checks.json"
    listed.write_text('{"schema": 1, "checks": [{"id": "grasp.error"}]}', encoding="utf-8")
    code, out = rover.hil("deploy", str(rover.root / "report"), "--to", "rover")
    assert code == 1, out
    assert "grasp.error is required now and was not judged" in out
    listed.unlink()
    place = rover.root / "report/report.json"
    document = json.loads(place.read_text(encoding="utf-8"))
    document["target"]["facts"]["cpu_model"] = None
    place.write_text(json.dumps({**document, "digest": report_digest(document)}), encoding="utf-8")
    code, out = rover.hil("deploy", str(rover.root / "report"), "--to", "rover")
    assert code == 1, out
    assert "CPU: judged on an unknown one" in out
