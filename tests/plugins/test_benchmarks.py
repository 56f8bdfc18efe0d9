from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.plugins.benchmarks import Benchmarks, Replay
from hil.results import CheckResult, Evidence, TargetUse, Verdict
from hil.session.outcome import Outcome
from tests.plugins.project import SUITES, Project, RunResult

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
PRESENT = ("-p", "benchmark")
WAYS: Mapping[str, tuple[str, ...]] = {
    "--benchmark-disable": (*PRESENT, "--benchmark-disable", "--benchmark-json=out.json"),
    "--benchmark-skip": (*PRESENT, "--benchmark-skip", "--benchmark-json=out.json"),
    "xdist": (*PRESENT, "-n", "2", "--benchmark-json=out.json"),
    "absent": ("-p", "hil.plugins.plugin"),
}
"""Ways to run without an export."""
SOME = (*SUITES, "-k", "p99 or signature")
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
    """Create a project that measures for 0.3 s and requires what ``SOME`` selects."""
    project = Project.make(root)
    project.edit('duration = "0.5 s"', 'duration = "0.3 s"')
    project.edit('budget = "4 s"', 'budget = "0.6 s"')
    project.require("latency.p99", "contract.signature")
    return project


def judged(ran: RunResult) -> tuple[int, dict[str, tuple[str, bool, str | None]]]:
    """Return the exit code, and each check's verdict, whether it is required, and its cause."""
    assert ran.report is not None, ran.out
    return ran.code, {c["id"]: (c["verdict"], c["required"], c["cause"]) for c in ran.report["checks"]}


@dataclass
class Exported:
    """A project after a run that exported, the run's result, and its exported file."""

    project: Project
    ran: RunResult
    out: dict[str, Any]
    samples: np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Run ``SOME`` with pytest-benchmark; the result is also saved for a later comparison."""
    project = quick(tmp_path_factory.mktemp("exported"))
    ran = project.run(*SOME, *PRESENT, "--benchmark-json=out.json", "--benchmark-autosave")
    out = json.loads((project.root / "out.json").read_text())
    with np.load(project.root / "report" / "samples" / "toy-fp32-saturated.npz") as arrays:
        return Exported(project, ran, out, arrays["duration"])


def test_a_run_without_an_export_gives_the_same_judgement(exported: Exported, tmp_path: Path) -> None:
    """Verdicts and exit code are the same if pytest-benchmark exports, is disabled, skipped, absent, or under xdist."""
    assert (exported.ran.code, exported.ran.verdict("latency.p99")) == (0, "passed"), exported.ran.out
    project = quick(tmp_path)
    for way, arguments in WAYS.items():
        if way == "absent":
            (tmp_path / "sitecustomize.py").write_text(ABSENT)
            project.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        ran = project.run(*SOME, *arguments)
        assert judged(ran) == judged(exported.ran), (way, ran.out)
        assert not (tmp_path / "out.json").exists(), (way, ran.out)


def test_a_missed_limit_fails_beside_its_export(tmp_path: Path) -> None:
    """A latency over its limit fails the run, and its series is exported."""
    project = quick(tmp_path)
    project.edit('p99 = "5 s"', 'p99 = "1 ns"')
    ran = project.run(*SUITES, "-k", "p99", *PRESENT, "--benchmark-json=out.json")
    assert (ran.code, ran.verdict("latency.p99")) == (1, "failed"), ran.out
    assert json.loads((tmp_path / "out.json").read_text())["benchmarks"]


def test_a_series_is_one_benchmark_with_the_samples_of_the_report(exported: Exported) -> None:
    """A model and precision is one benchmark, which has the report's samples and names the device."""
    (benchmark,) = exported.out["benchmarks"]
    assert np.abs(np.array(benchmark["stats"]["data"]) - exported.samples).max() <= 1e-9
    assert (benchmark["name"], benchmark["stats"]["rounds"]) == ("latency[toy-fp32]", len(exported.samples))
    assert benchmark["params"] == {"model": "toy", "precision": "fp32"}
    assert benchmark["extra_info"]["method"] == exported.ran.check("latency.p99")["measurement"]["method"]
    machine = exported.out["machine_info"]["hil"]
    assert (machine["used"], machine["evidence"]) == ("cpu", "host")


def test_a_saved_file_is_compared_with(exported: Exported) -> None:
    """A saved file of this device is compared without a warning; for another device, a warning states what differs."""
    compare = (*SUITES, *PRESENT, "-k", "p99", "--benchmark-compare")
    root = exported.project.root
    same = exported.project.run(*compare, "--benchmark-histogram=picture").out
    assert "latency[toy-fp32] (0001" in same
    assert "machine_info is different" not in same
    assert "another device" not in same
    assert list(root.glob("picture*.svg"))
    (saved,) = root.rglob("0001_*.json")
    data = json.loads(saved.read_text())
    data["machine_info"]["hil"]["runtime_version"] = "0.1"
    saved.write_text(json.dumps(data))
    other = exported.project.run(*compare).out
    assert "compared with those of another device: runtime_version was 0.1, is" in other, other


def test_benchmark_only_selects_the_series(tmp_path: Path) -> None:
    """``--benchmark-only`` runs the tests whose series become benchmarks; the other rows are not run."""
    project = quick(tmp_path)
    ran = project.run(*SOME, *PRESENT, "--benchmark-only", "--benchmark-json=out.json")
    assert ran.verdict("latency.p99") == "passed", ran.out
    assert ran.verdict("contract.signature") == "not_run"
    assert ran.code == 1
    assert (tmp_path / "out.json").exists()


def test_a_fallback_is_not_exported(tmp_path: Path) -> None:
    """A run that falls back to the CPU exports no series."""
    project = quick(tmp_path)
    text = project.toml.read_text()
    project.toml.write_text('[targets.orin]\nkind = "ssh"\nhost = "orin.invalid"\n' + text)
    ran = project.run(*SUITES, *PRESENT, "--target=orin", "-k", "p99", "--benchmark-json=out.json")
    assert (ran.code, ran.verdict("latency.p99")) == (1, "not_run"), ran.out
    assert not (tmp_path / "out.json").exists()


def test_a_test_with_a_benchmark_of_its_own_keeps_it(tmp_path: Path) -> None:
    """A user's test that requests ``benchmark`` keeps its own benchmark."""
    project = quick(tmp_path)
    (tmp_path / "test_own.py").write_text(
        "import pytest\n"
        "@pytest.mark.hil('latency.p99')\n"
        "def test_own(hil_check, benchmark):\n"
        "    hil_check.judge()\n"
        "    benchmark(sum, [1, 2])\n"
    )
    ran = project.run("test_own.py", *PRESENT, "--benchmark-json=out.json")
    assert ran.verdict("latency.p99") == "passed", ran.out
    (benchmark,) = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert benchmark["name"] == "test_own[toy-fp32]"


def test_an_export_that_fails_is_reported_and_judges_nothing(tmp_path: Path) -> None:
    """If another plugin's ``benchmark`` fixture raises, the export is reported as failed and the verdict stays."""
    project = quick(tmp_path)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef benchmark():\n    raise RuntimeError('somebody else')\n"
    )
    ran = project.run(*SUITES, *PRESENT, "-k", "p99")
    assert ran.verdict("latency.p99") == "passed", ran.out
    assert "not exported to pytest-benchmark: RuntimeError: somebody else" in ran.out


def test_a_replayed_round_lasts_as_long_as_its_sample() -> None:
    """The end of a round minus its start is exactly the sample, however many rounds came before."""
    rng = np.random.default_rng(0)
    samples = rng.lognormal(-9, 1, 1000).tolist()
    clock, rounds = Replay(samples), []
    for _ in samples:
        clock.restart()
        start = clock()
        clock.step()
        rounds.append(clock() - start)
    assert rounds == samples


def _outcome(target: Mapping[str, Any]) -> Outcome:
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
    """If the device is another machine, ``machine_info`` describes it, and ``host`` describes this machine."""
    exporter = Benchmarks()
    exporter._outcome = _outcome(BOARD)  # noqa: SLF001 - set by export(), which would need a board
    info: dict[str, Any] = {"node": "laptop", "cpu": {"brand_raw": "x86"}, "machine": "x86_64"}
    exporter.pytest_benchmark_update_machine_info(info)
    assert info["node"] == "orin-3"
    assert info["machine"] == "aarch64"
    assert info["cpu"]["brand_raw"] is None
    assert info["host"]["node"] == "laptop"
    facts = {"module": "orin-nx-16gb", "serial": "142", "jetpack": "6.2", "runtime_version": "10.3.0", "gpu": "Orin"}
    assert facts.items() <= info["hil"].items()
