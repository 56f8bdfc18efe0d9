"""Telemetry of a timed window: columns of equal length, at 10 Hz, with a reason for each that is missing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.machine.board_sampler import BoardSampler, is_tegra
from hil.agent.protocol import wire
from hil.agent.workers import telemetry
from hil.agent.workers.telemetry import INTERVAL, Sampler
from tests.agent.jetson import orin
from tests.agent.jetson.test_tegrastats import ORIN_NANO_R36, ORIN_R39, THOR_R38

if TYPE_CHECKING:
    from hil.targets.engine_worker import EngineWorker

EXTRA = {"t", "interval", "taken", "sources", "not_readable", "warmup", "state"}


def sample(root: Path, program: Path | None, seconds: float) -> dict[str, Any]:
    """Sample this process for ``seconds`` and return the report."""
    instruments = BoardSampler(time.monotonic(), str(root), None if program is None else str(program))
    sampler = Sampler(os.getpid(), instruments=instruments)
    try:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if now >= sampler.due:
                sampler.take(now)
            time.sleep(max(0.0, sampler.due - time.monotonic()))
        report = sampler.report()
    finally:
        sampler.close()
    json.dumps(report, allow_nan=False)
    return report


def columns(report: dict[str, Any]) -> set[str]:
    """Return the names of the columns, after checking that each is as long as the times."""
    names = set(report) - EXTRA
    assert {len(report[name]) for name in names} == {len(report["t"])}
    return names


@pytest.fixture
def without_tegrastats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with PATH set so that no tegrastats is on it."""
    if Path("/usr/bin/tegrastats").exists():
        pytest.skip("this machine has a tegrastats")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return tmp_path


def test_sysfs_is_preferred_to_tegrastats(tmp_path: Path) -> None:
    """Only columns that sysfs lacks come from tegrastats; the total is that of the meter on the board's input."""
    report = sample(orin.sysfs(tmp_path / "sys", orin.NANO), orin.tegrastats(tmp_path / "t", ORIN_R39), 1.5)
    names = columns(report)
    assert {"temperature.gpu-thermal", "clock.gpu", "clock.emc", "load.gpu", "over_current.oc3"} <= names
    assert report["not_readable"] == {}
    assert report["sources"] == {"load.emc": "tegrastats", "power.total": "VDD_IN"}
    assert report["load.emc"][-1] == 0.03
    assert set(report["load.gpu"]) == {0.123}
    assert {name for name in names if name.startswith("power.")} == {*(f"power.{r}" for r in orin.NANO), "power.total"}
    assert report["power.total"] == report["power.VDD_IN"] == [5.262224] * len(report["t"])
    assert {name for name in names if name.startswith("temperature.")} == {f"temperature.{zone}" for zone in orin.ZONES}


def test_late_samples_do_not_lower_the_rate(tmp_path: Path) -> None:
    """A late sample does not delay the next one: the mean interval stays at 0.1 s."""
    report = sample(orin.sysfs(tmp_path / "sys", orin.AGX), orin.tegrastats(tmp_path / "t", ORIN_R39), 3.0)
    assert len(report["t"]) >= 3.0 / INTERVAL - 1
    assert (report["t"][-1] - report["t"][0]) / (len(report["t"]) - 1) == pytest.approx(INTERVAL, rel=0.02)
    assert report["sources"]["power.total"] == "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"
    assert report["power.total"][0] == pytest.approx(4.76544 + 0.79456 + 3.497472)


def test_a_board_whose_meters_are_not_readable(tmp_path: Path) -> None:
    """Rails and total come from tegrastats if sysfs has no readable meters; the rail NC is left out."""
    root = orin.sysfs(tmp_path / "sys", {})
    (root / "class/devfreq/17000000.gpu/device/load").write_text("nothing")
    report = sample(root, orin.tegrastats(tmp_path / "t", THOR_R38 + " NC 7mW/7mW"), 1.5)
    assert report["power.total"][-1] == 19.78
    assert report["sources"]["power.total"] == "VIN"
    assert report["sources"]["power.VDD_GPU"] == "tegrastats"
    assert "power.NC" not in report
    assert report["power.total"][0] is None  # before tegrastats' first line: None, not zero
    assert "load.gpu" not in report  # Thor prints only clocks
    assert report["not_readable"] == {"load.gpu": "gave no reading"}


def test_rails_of_sysfs_and_tegrastats_add_up(tmp_path: Path) -> None:
    """A rail that sysfs lacks is read from tegrastats, and each rail counts once in the sum."""
    root = orin.sysfs(tmp_path / "sys", orin.AGX)
    (root / "class/hwmon/hwmon1/curr2_input").unlink()
    report = sample(root, orin.tegrastats(tmp_path / "t", ORIN_R39), 1.0)
    assert report["sources"]["power.VDD_CPU_CV"] == "tegrastats"
    assert "power.VDD_GPU_SOC" not in report["sources"]
    assert report["power.total"][-1] == pytest.approx(4.76544 + 3.268 + 3.497472)
    assert report["not_readable"] == {}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("time.sleep(600)", "printed no line for 2 s"),
        ("while True: print('garbage', flush=True); time.sleep(0.05)", "printed a line that cannot be parsed"),
        ("sys.exit(1)", "ended with exit code 1"),
        (None, "not found in PATH or /usr/bin"),
    ],
)
def test_a_failing_tegrastats_is_reported(body: str | None, why: str, without_tegrastats: Path) -> None:
    """If tegrastats fails, its columns are absent and the reason is reported; the sensors of sysfs are still read."""
    program = None if body is None else orin.program(without_tegrastats / "t", body)
    report = sample(orin.sysfs(without_tegrastats / "sys", orin.NANO), program, 2.6)
    assert report["not_readable"]["tegrastats"].startswith(why)
    assert "load.emc" not in report
    assert report["sources"] == {"power.total": "VDD_IN"}
    assert len(report["t"]) >= 25


def test_tegrastats_is_expected_only_on_tegra(without_tegrastats: Path) -> None:
    """Only on a Tegra is a missing tegrastats reported; missing power is reported on every machine."""
    (without_tegrastats / "sys").mkdir()
    report = sample(without_tegrastats / "sys", None, 0.3)
    assert columns(report) == {"rss"}
    assert report["not_readable"] == {"power.total": "no known meter measures the board's power"}
    assert not is_tegra(str(without_tegrastats / "sys"))


def test_a_sensor_without_any_reading_is_absent(without_tegrastats: Path) -> None:
    """A zone without any reading has no column but a reason; a zone read only later has None before that."""
    root = orin.sysfs(without_tegrastats / "sys", orin.NANO)
    (root / "class/thermal/thermal_zone2/temp").write_text("-256000\n")
    gpu = root / "class/thermal/thermal_zone1/temp"
    gpu.write_text("-256000\n")
    instruments = BoardSampler(0.0, str(root))
    sampler = Sampler(os.getpid(), instruments=instruments)
    sampler.take(1.0)
    gpu.write_text("51000\n")
    sampler.take(1.1)
    report = sampler.report()
    sampler.close()
    assert report["temperature.gpu-thermal"] == [None, 51]
    assert "temperature.cv0-thermal" not in report
    assert report["not_readable"]["temperature.cv0-thermal"] == "gave no reading"


def test_a_long_window_fits_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of samples of many sensors fit into a header, and stay evenly spread over the window."""
    root = orin.sysfs(tmp_path / "sys", orin.AGX)
    for number in range(100, 140):
        orin.write(root, f"class/thermal/thermal_zone{number}/type", f"zone-{number}-thermal")
        orin.write(root, f"class/thermal/thermal_zone{number}/temp", 44156)
    monkeypatch.setattr(telemetry, "MAX_KEPT", 2000)
    instruments = BoardSampler(0.0, str(root), str(orin.program(tmp_path / "t", "time.sleep(600)")))
    sampler = Sampler(os.getpid(), instruments=instruments)
    for number in range(6000):
        sampler.take(100_000 + number * INTERVAL)
    report = sampler.report()
    sampler.close()
    assert len(wire.encode({"ok": {"telemetry": report}}, 0)) < wire.MAX_HEADER
    assert report["taken"] == 6000
    assert report["t"][-1] >= 100_000 + 5900 * INTERVAL
    assert columns(report)


def test_a_missing_worker_leaves_no_file_open(tmp_path: Path) -> None:
    """If the sampler cannot be created, the instruments that it would have used are closed."""
    root = orin.sysfs(tmp_path / "sys", orin.NANO)
    before = orin.open_files()
    instruments = BoardSampler(0.0, str(root), str(orin.program(tmp_path / "t", "time.sleep(600)")))
    with pytest.raises(OSError, match="statm"):
        Sampler(2**22 + 1, instruments=instruments)
    assert orin.open_files() == before


def test_a_timed_window_has_telemetry(worker: EngineWorker, feed: dict[str, Any]) -> None:
    """Through the real agent, a timed window has the columns and the reasons for those that are missing."""
    worker.run(feed)
    timed = worker.time([feed], warmup=0.05, seconds=0.5, min_samples=5, max_samples=10**7)
    telemetry_columns = timed.telemetry
    assert {"not_readable", "sources", "rss", "t"} <= set(telemetry_columns)
    assert {len(telemetry_columns[name]) for name in set(telemetry_columns) - EXTRA} == {len(telemetry_columns["t"])}
    assert "power.total" in {**telemetry_columns, **telemetry_columns["not_readable"]}


def test_a_clock_that_tegrastats_does_not_show_is_absent(tmp_path: Path) -> None:
    """A clock of 0 MHz in tegrastats means that the clock is not shown, and has no value."""
    (tmp_path / "sys").mkdir()
    line = ORIN_NANO_R36.replace("GR3D_FREQ 0%", "GR3D_FREQ 7%@[0]")
    report = sample(tmp_path / "sys", orin.tegrastats(tmp_path / "t", line), 1.0)
    assert report["load.gpu"][-1] == 0.07
    assert "clock.gpu" not in report
    assert report["temperature.gpu"][-1] == 45.968
    assert report["power.total"][-1] == 5.263
