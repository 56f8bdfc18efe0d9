from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.plugins.benchmarks import Benchmarks, Replay, device
from hil.results import CheckResult, Evidence, TargetUse, Verdict
from hil.session.outcome import Outcome
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pytest_benchmark":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""
THERE = ("-p", "benchmark")
WAYS: Mapping[str, tuple[str, ...]] = {
    "present": (*THERE, "--benchmark-json=out.json"),
    "-p no:benchmark": ("-p", "no:benchmark"),
    "--benchmark-disable": (*THERE, "--benchmark-disable", "--benchmark-json=out.json"),
    "--benchmark-skip": (*THERE, "--benchmark-skip", "--benchmark-json=out.json"),
    "xdist": (*THERE, "-n", "2", "--benchmark-json=out.json"),
    "absent": ("-p", "hil.plugins.plugin"),
}
BOARD: Mapping[str, Any] = {
    "kind": "ssh",
    "board": "orin-nx-16gb",
    "facts": {
        "hostname": "orin-3",
        "machine": "aarch64",
        "system": "Linux",
        "kernel": "5.15.148-tegra",
        "cpu_model": None,
        "cores": 8,
        "python": "3.10.12",
        "identity": {
            "module": "orin-nx-16gb",
            "serial": "142",
            "jetpack": "6.2",
            "l4t": "36.4.3",
            "power_mode": "MAXN",
        },
    },
}


def quick(root: Path) -> Project:
    """A project whose timing is over in a moment."""
    project = Project.make(root)
    project.edit('duration = "0.5 s"', 'duration = "0.3 s"')
    project.edit('budget = "4 s"', 'budget = "0.6 s"')
    return project


def judged(project: Project, code: int) -> tuple[int, dict[str, tuple[str, bool, str | None]]]:
    """The exit code, and of each check its verdict, whether it is required, and its cause."""
    report = project.report()
    assert report is not None
    return code, {c["id"]: (c["verdict"], c["required"], c["cause"]) for c in report["checks"]}


@pytest.mark.parametrize(
    ("limit", "verdict", "ways"),
    [("5 s", "passed", tuple(WAYS)), ("1 ns", "failed", ("present", "-p no:benchmark"))],
    ids=["good", "bad"],
)
def test_every_way_to_have_it_or_not_gives_the_same_judgement(
    tmp_path: Path, limit: str, verdict: str, ways: tuple[str, ...]
) -> None:
    """Verdicts and exit code do not depend on pytest-benchmark: present, disabled, skipped, under xdist, or absent."""
    results = {}
    for way in ways:
        root = tmp_path / way.replace(" ", "")
        root.mkdir()
        project = quick(root)
        project.edit('p99 = "5 s"', f'p99 = "{limit}"')
        if way == "absent":
            (root / "sitecustomize.py").write_text(ABSENT)
            project.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        ran = project.run(*SUITES, *WAYS[way], "-k", "p99 or contract")
        assert ran.report is not None, ran.out
        results[way] = judged(project, ran.code)
        assert (root / "out.json").exists() == (way == "present"), (way, ran.out)
        assert ran.verdict("latency.p99") == verdict, ran.out
    assert all(each == results["present"] for each in results.values()), results


def test_a_series_is_one_benchmark_with_the_samples_of_the_report(project: Project) -> None:
    """Once a model and precision, not once a percentile; its data are the report's samples; the device is named."""
    project.edit('duration = "0.5 s"', 'duration = "0.3 s"')
    ran = project.run(*SUITES, *THERE, "-k", "latency", "--benchmark-json=out.json", "--benchmark-autosave")
    (one,) = json.loads((project.root / "out.json").read_text())["benchmarks"]
    with np.load(project.root / "report" / "samples" / "toy-fp32-saturated.npz") as arrays:
        expected = arrays["duration"]
    assert np.abs(np.array(one["stats"]["data"]) - expected).max() <= 1e-9
    assert (one["name"], one["stats"]["rounds"]) == ("latency[toy-fp32]", len(expected))
    assert one["params"] == {"model": "toy", "precision": "fp32"}
    assert one["extra_info"]["method"] == ran.check("latency.p99")["measurement"]["method"]
    machine = json.loads((project.root / "out.json").read_text())["machine_info"]
    assert machine["hil"]["used"] == "cpu"
    assert machine["hil"]["evidence"] == "host"
    again = project.run(*SUITES, *THERE, "-k", "latency", "--benchmark-compare", "--benchmark-histogram=picture")
    assert "latency[toy-fp32] (0001" in again.out
    assert "machine_info is different" not in again.out
    assert "another device" not in again.out
    assert list(project.root.glob("picture*.svg"))


def test_the_series_stay_under_benchmark_only(tmp_path: Path) -> None:
    """``--benchmark-only`` runs what becomes a benchmark; the rest has no result and is never passed."""
    project = quick(tmp_path)
    ran = project.run(*SUITES, *THERE, "--benchmark-only", "--benchmark-json=out.json")
    assert ran.verdict("latency.p99") == "passed", ran.out
    assert ran.verdict("contract.signature") == "not_run"
    assert ran.code == 1
    assert (project.root / "out.json").exists()


def test_a_fallback_is_no_benchmark(tmp_path: Path) -> None:
    """What the CPU did in a board's place is exported under nobody's name."""
    project = quick(tmp_path)
    text = (tmp_path / "hil.toml").read_text()
    (tmp_path / "hil.toml").write_text('[targets.orin]\nkind = "ssh"\nhost = "orin.invalid"\n' + text)
    ran = project.run(*SUITES, *THERE, "--target=orin", "-k", "latency", "--benchmark-json=out.json")
    assert ran.code == 10 or ran.verdict("latency.p99") == "not_run", ran.out
    assert not (tmp_path / "out.json").exists()


def test_a_test_with_a_benchmark_of_its_own_keeps_it(tmp_path: Path) -> None:
    """A user's test that asks for ``benchmark`` itself fills it itself."""
    project = quick(tmp_path)
    (tmp_path / "test_own.py").write_text(
        "import pytest\n"
        "@pytest.mark.hil('latency.p99')\n"
        "def test_own(hil_check, benchmark):\n"
        "    hil_check.judge()\n"
        "    benchmark(sum, [1, 2])\n"
    )
    ran = project.run("test_own.py", *THERE, "--benchmark-json=out.json")
    assert ran.verdict("latency.p99") == "passed", ran.out
    (one,) = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert one["name"] == "test_own[toy-fp32]"


def test_an_export_that_breaks_is_told_and_judges_nothing(tmp_path: Path) -> None:
    """Another plugin's ``benchmark`` fixture that is no benchmark costs the export alone."""
    project = quick(tmp_path)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef benchmark():\n    raise RuntimeError('somebody else')\n"
    )
    ran = project.run(*SUITES, *THERE, "-k", "latency")
    assert ran.verdict("latency.p99") == "passed", ran.out
    assert "not exported to pytest-benchmark: RuntimeError: somebody else" in ran.out


def test_a_replayed_round_is_its_sample() -> None:
    """Start and end of a round are exactly a sample apart, however many came before."""
    rng = np.random.default_rng(0)
    samples = rng.lognormal(-9, 1, 1000).tolist()
    clock, told = Replay(samples), []
    for _ in samples:
        clock.restart()
        begun = clock()
        clock.step()
        told.append(clock() - begun)
    assert told == samples


def _ran(target: Mapping[str, Any]) -> Outcome:
    result = CheckResult(
        id="latency.p99",
        required=True,
        verdict=Verdict.PASSED,
        reason="",
        evidence=Evidence.DEVICE,
        target=TargetUse(requested="orin", used="orin"),
    )
    engines = [{"runtime": "tensorrt", "runtime_version": "10.3.0"}]
    accelerator = {"accelerator": {"gpu": "Orin", "driver": "540.4.0", "cuda": "12.6"}}
    return Outcome(result=result, target=dict(target), environments={"0": accelerator}, engines=engines)


def test_a_board_is_never_described_by_its_hosts_cpu() -> None:
    """Where the device is another machine, ``machine_info`` is its own and this machine's is under ``host``."""
    exporter = Benchmarks()
    exporter._outcome = _ran(BOARD)  # noqa: SLF001 - what export() leaves behind, without a board
    info: dict[str, Any] = {"node": "laptop", "cpu": {"brand_raw": "x86"}, "machine": "x86_64"}
    exporter.pytest_benchmark_update_machine_info(info)
    assert info["node"] == "orin-3"
    assert info["machine"] == "aarch64"
    assert info["cpu"]["brand_raw"] is None
    assert info["host"]["node"] == "laptop"
    known = {"module": "orin-nx-16gb", "serial": "142", "jetpack": "6.2", "runtime_version": "10.3.0", "gpu": "Orin"}
    assert known.items() <= info["hil"].items()


def test_another_device_is_told_by_what_differs(tmp_path: Path) -> None:
    """A saved file of another device is compared with, and the summary names what is unlike."""
    project = quick(tmp_path)
    project.run(*SUITES, *THERE, "-k", "latency", "--benchmark-autosave")
    (saved,) = tmp_path.rglob("0001_*.json")
    data = json.loads(saved.read_text())
    data["machine_info"]["hil"]["runtime_version"] = "0.1"
    saved.write_text(json.dumps(data))
    ran = project.run(*SUITES, *THERE, "-k", "latency", "--benchmark-compare")
    assert "compared with those of another device: runtime_version was 0.1, is" in ran.out, ran.out
    assert device(_ran(BOARD))["serial"] == "142"
