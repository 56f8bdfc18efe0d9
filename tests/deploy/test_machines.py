"""Which machine counts as one of the kind that was judged: unknown facts on both sides make no two of them alike."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from hil.deploy import refusals
from hil.report.canonical import report_digest
from hil.report.schema import EngineUsed
from hil.results import ExecutedOn
from tests.jetson.trees import AGX_ORIN, ORIN_NX
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.jetson.trees import Tree

H200 = ExecutedOn(kind="gpu", name="NVIDIA H200", sm="9.0")
ORIN = ExecutedOn(kind="gpu", name="Orin", sm="8.7")
DEPLOY = """
[targets.arm]
kind = "local"
runtime = "onnxruntime"

[targets.arm.deploy]
directory = "{root}/robot"
restart = ["/bin/true"]
health = ["/bin/true"]
"""


def engine(runtime: str, work: ExecutedOn | None = None, version: str = "1") -> EngineUsed:
    """An engine that was judged."""
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
    """What a probe reads on a machine that is no Jetson."""
    facts: dict[str, Any] = {
        "machine": "x86_64",
        "cpu_model": "AMD EPYC 7J13",
        "board": {"compatible": None, "not_readable": {"compatible": "there is none"}},
        "runtimes": {"tensorrt": "1", "onnxruntime": "1"},
        "facts": {"tensorrt": {"gpu": "NVIDIA H200", "sm": "9.0", "cuda": "12.8"}},
    }
    return {**facts, **changes}


def gpu(name: str | None = "NVIDIA H200", sm: str | None = "9.0", cuda: str | None = "12.8") -> dict[str, Any]:
    """What a probe reads on a machine with this GPU."""
    return host(facts={"tensorrt": {"gpu": name, "sm": sm, "cuda": cuda}})


def jetson(tree: Tree, root: Path, work: ExecutedOn = ORIN, **changes: Any) -> dict[str, Any]:
    """What a probe reads on this Jetson."""
    told = {"tensorrt": {"gpu": work.name, "sm": work.sm, "cuda": "12.6"}}
    return host(
        machine="aarch64", cpu_model="ARMv8 Processor rev 1 (v8l)", facts=told, board=tree.facts(root, **changes)
    )


def named(judged: dict[str, Any], robot: dict[str, Any], *engines: EngineUsed, number: int = 0) -> list[str]:
    """What differs, by name."""
    return [reason.split(":")[0] for reason in refusals.of_robot(engines, judged, robot, number)]


def test_the_same_kind_of_machine(tmp_path: Path) -> None:
    """A host by its CPU or its GPU, a Jetson by its module: each may be deployed to from a report of its like."""
    both = [engine("tensorrt", H200), engine("onnxruntime")]
    assert named(host(), host(), *both) == []
    orin = jetson(ORIN_NX, tmp_path)
    assert named(orin, copy.deepcopy(orin), engine("tensorrt", ORIN), engine("onnxruntime")) == []


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
    """Name, SM and the driver's CUDA version: an engine that was judged on one card is not another card's."""
    assert named(host(), robot, engine("tensorrt", H200)) == differs


def test_the_gpu_that_the_robot_uses_is_compared() -> None:
    """Where its config names the second GPU, the first one's name decides nothing."""
    listed = [{"number": 1, "name": "NVIDIA L4", "sm": "8.9"}]
    assert named(host(), host(gpus=listed), engine("tensorrt", H200), number=1) == ["GPU", "SM"]


def test_two_machines_that_nobody_could_identify_are_not_alike(tmp_path: Path) -> None:
    """Every fact that is unknown on both sides is a reason against, whichever it is."""
    assert named({}, {}, engine("onnxruntime", version="")) == ["architecture", "CPU", "onnxruntime"]
    assert named({}, {}, engine("tensorrt")) == ["architecture", "GPU", "SM", "CUDA version of the driver", "tensorrt"]
    assert named(host(), host(), engine("tensorrt", None)) == ["GPU", "SM"]
    assert named(host(cpu_model=None), host(cpu_model=None), engine("onnxruntime")) == ["CPU"]
    for changes in ({"compatible": ["nvidia,p3767-0009", "nvidia,tegra234"]}, {"memory_total": 2**33}):
        unknown = jetson(ORIN_NX, tmp_path, **changes)
        assert named(unknown, unknown, engine("onnxruntime")) == ["module"]
    no_l4t = jetson(ORIN_NX, tmp_path, nv_tegra_release=None, packages=None)
    assert named(no_l4t, no_l4t, engine("onnxruntime")) == ["Jetson Linux"]
    # Nothing of the board could be read: its CPU's name is that of every Jetson of its day.
    for unread in ({}, None, {"compatible": None}):
        blank = {**jetson(ORIN_NX, tmp_path), "board": unread}
        assert named(blank, blank, engine("onnxruntime")) == ["CPU"]
        assert named(blank, blank, engine("tensorrt", ORIN)) == ["module", "Jetson Linux"]


def test_another_jetson(tmp_path: Path) -> None:
    """Module, Jetson Linux and runtime have to be those that were judged."""
    orin, other = jetson(ORIN_NX, tmp_path / "a"), jetson(AGX_ORIN, tmp_path / "b")
    assert "module" in named(orin, other, engine("onnxruntime"))
    assert "module" in named(orin, host(), engine("onnxruntime"))
    assert named(orin, {**orin, "runtimes": {"onnxruntime": "2"}}, engine("onnxruntime")) == ["onnxruntime"]
    release = jetson(ORIN_NX, tmp_path / "c", nv_tegra_release="# R36 (release), REVISION: 4.3", packages=None)
    assert "Jetson Linux" in named(orin, release, engine("onnxruntime"))


def test_a_report_of_another_host_is_not_deployed(tmp_path: Path) -> None:
    """By the command line: a report of this machine is deployed to it, not without a listed check or a known CPU."""
    project = Project.make(tmp_path)
    for old, new in (('latency = { p99 = "5 s" }\n', ""), (', "latency.p99"', ""), ("soak = 400", "soak = 60")):
        project.edit(old, new)
    with project.toml.open("a", encoding="utf-8") as file:
        file.write(DEPLOY.format(root=tmp_path))
    ran = project.run(*SUITES, "--target=arm", "--hil-gate")
    assert ran.code == 0, ran.out
    deployed = project.hil("deploy", "report", "--to", "arm")
    assert deployed.code == 0, deployed.out
    listed = tmp_path / "hil.checks.json"
    listed.write_text('{"schema": 1, "checks": [{"id": "grasp.error"}]}', encoding="utf-8")
    lacking = project.hil("deploy", "report", "--to", "arm")
    assert lacking.code == 1, lacking.out
    assert "grasp.error is required now and was not judged" in lacking.out
    listed.unlink()
    place = tmp_path / "report/report.json"
    document = json.loads(place.read_text())
    document["target"]["facts"]["cpu_model"] = None
    place.write_text(json.dumps({**document, "digest": report_digest(document)}))
    refused = project.hil("deploy", "report", "--to", "arm")
    assert refused.code == 1, refused.out
    assert "CPU: judged on an unknown one" in refused.out
