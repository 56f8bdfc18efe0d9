"""The telemetry of a timed window: columns of one length, at 10 Hz, with the reason for each that is not there."""

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


def sampled(root: Path, program: Path | None, seconds: float) -> dict[str, Any]:
    """The report of a sampler over this process for so long."""
    instruments = BoardSampler(time.monotonic(), str(root), None if program is None else str(program))
    sampler = Sampler(os.getpid(), instruments=instruments)
    try:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if now >= sampler.due:
                sampler.take(now)
            time.sleep(max(0.0, sampler.due - time.monotonic()))
        told = sampler.report()
    finally:
        sampler.close()
    json.dumps(told, allow_nan=False)
    return told


def columns(told: dict[str, Any]) -> set[str]:
    """Names of the columns, each of which is as long as the times."""
    names = set(told) - EXTRA
    assert {len(told[name]) for name in names} == {len(told["t"])}
    return names


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without tegrastats."""
    if Path("/usr/bin/tegrastats").exists():
        pytest.skip("this machine has a tegrastats")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return tmp_path


def test_sysfs_comes_first_and_tegrastats_fills_in(tmp_path: Path) -> None:
    """Of tegrastats only what sysfs has not (EMC's use), marked so; the total is that of the input's meter."""
    told = sampled(orin.sysfs(tmp_path / "sys", orin.NANO), orin.tegrastats(tmp_path / "t", ORIN_R39), 1.5)
    names = columns(told)
    assert {"temperature.gpu-thermal", "clock.gpu", "clock.emc", "load.gpu", "over_current.oc3"} <= names
    assert told["not_readable"] == {}
    assert told["sources"] == {"load.emc": "tegrastats", "power.total": "VDD_IN"}
    assert told["load.emc"][-1] == 0.03
    assert set(told["load.gpu"]) == {0.123}
    assert {name for name in names if name.startswith("power.")} == {*(f"power.{r}" for r in orin.NANO), "power.total"}
    assert told["power.total"] == told["power.VDD_IN"] == [5.262224] * len(told["t"])
    assert {name for name in names if name.startswith("temperature.")} == {f"temperature.{zone}" for zone in orin.ZONES}


def test_ten_a_second_stay_ten(tmp_path: Path) -> None:
    """What one sample is late does not make the next one later."""
    told = sampled(orin.sysfs(tmp_path / "sys", orin.AGX), orin.tegrastats(tmp_path / "t", ORIN_R39), 3.0)
    assert len(told["t"]) >= 3.0 / INTERVAL - 1
    assert (told["t"][-1] - told["t"][0]) / (len(told["t"]) - 1) == pytest.approx(INTERVAL, rel=0.02)
    assert told["sources"]["power.total"] == "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"
    assert told["power.total"][0] == pytest.approx(4.76544 + 0.79456 + 3.497472)


def test_a_board_whose_meters_are_not_readable(tmp_path: Path) -> None:
    """Then the rails are tegrastats', with the total that goes with them, and NC is none."""
    root = orin.sysfs(tmp_path / "sys", {})
    (root / "class/devfreq/17000000.gpu/device/load").write_text("nothing")
    told = sampled(root, orin.tegrastats(tmp_path / "t", THOR_R38 + " NC 7mW/7mW"), 1.5)
    assert told["power.total"][-1] == 19.78
    assert told["sources"]["power.total"] == "VIN"
    assert told["sources"]["power.VDD_GPU"] == "tegrastats"
    assert "power.NC" not in told
    assert told["power.total"][0] is None  # no line had come yet: a gap, not a zero
    assert "load.gpu" not in told  # Thor prints clocks alone
    assert told["not_readable"] == {"load.gpu": "gave no reading"}


def test_rails_of_both_make_one_sum(tmp_path: Path) -> None:
    """A rail that sysfs does not give is taken from tegrastats, each counts once."""
    root = orin.sysfs(tmp_path / "sys", orin.AGX)
    (root / "class/hwmon/hwmon1/curr2_input").unlink()
    told = sampled(root, orin.tegrastats(tmp_path / "t", ORIN_R39), 1.0)
    assert told["sources"]["power.VDD_CPU_CV"] == "tegrastats"
    assert "power.VDD_GPU_SOC" not in told["sources"]
    assert told["power.total"][-1] == pytest.approx(4.76544 + 3.268 + 3.497472)
    assert told["not_readable"] == {}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("time.sleep(600)", "printed no line for 2 s"),
        ("while True: print('garbage', flush=True); time.sleep(0.05)", "printed what cannot be read"),
        ("sys.exit(1)", "ended with exit code 1"),
        (None, "not found in PATH or /usr/bin"),
    ],
)
def test_a_tegrastats_that_fails_is_told(body: str | None, why: str, nowhere: Path) -> None:
    """Its columns are absent, not zero, the reason is in the telemetry, and the sensors are read as ever."""
    program = None if body is None else orin.program(nowhere / "t", body)
    told = sampled(orin.sysfs(nowhere / "sys", orin.NANO), program, 2.6)
    assert told["not_readable"]["tegrastats"].startswith(why)
    assert "load.emc" not in told
    assert told["sources"] == {"power.total": "VDD_IN"}
    assert len(told["t"]) >= 25


def test_a_machine_that_is_no_tegra_is_not_asked_for_one(nowhere: Path) -> None:
    """Elsewhere a missing tegrastats is nothing to tell, but that there is no power is."""
    (nowhere / "sys").mkdir()
    told = sampled(nowhere / "sys", None, 0.3)
    assert columns(told) == {"rss"}
    assert told["not_readable"] == {"power.total": "no meter is known here that tells the board's power"}
    assert not is_tegra(str(nowhere / "sys"))


def test_an_offline_sensor_is_absent_and_one_that_comes_on_is_not(nowhere: Path) -> None:
    """A zone without any reading is told with the reason; one that begins to read has None before."""
    root = orin.sysfs(nowhere / "sys", orin.NANO)
    (root / "class/thermal/thermal_zone2/temp").write_text("-256000\n")
    gpu = root / "class/thermal/thermal_zone1/temp"
    gpu.write_text("-256000\n")
    instruments = BoardSampler(0.0, str(root))
    sampler = Sampler(os.getpid(), instruments=instruments)
    sampler.take(1.0)
    gpu.write_text("51000\n")
    sampler.take(1.1)
    told = sampler.report()
    sampler.close()
    assert told["temperature.gpu-thermal"] == [None, 51]
    assert "temperature.cv0-thermal" not in told
    assert told["not_readable"]["temperature.cv0-thermal"] == "gave no reading"


def test_a_long_window_fits_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of samples of many sensors stay under the header's limit, evenly spread from first to last."""
    root = orin.sysfs(tmp_path / "sys", orin.AGX)
    for number in range(100, 140):
        orin.write(root, f"class/thermal/thermal_zone{number}/type", f"zone-{number}-thermal")
        orin.write(root, f"class/thermal/thermal_zone{number}/temp", 44156)
    monkeypatch.setattr(telemetry, "MAX_KEPT", 2000)
    instruments = BoardSampler(0.0, str(root), str(orin.program(tmp_path / "t", "time.sleep(600)")))
    sampler = Sampler(os.getpid(), instruments=instruments)
    for number in range(6000):
        sampler.take(100_000 + number * INTERVAL)
    told = sampler.report()
    sampler.close()
    assert len(wire.encode({"ok": {"telemetry": told}}, 0)) < wire.MAX_HEADER
    assert told["taken"] == 6000
    assert told["t"][-1] >= 100_000 + 5900 * INTERVAL
    assert columns(told)


def test_a_worker_that_is_gone_leaves_nothing_open(tmp_path: Path) -> None:
    """Where the sampler cannot be made, what was opened for it is closed."""
    root = orin.sysfs(tmp_path / "sys", orin.NANO)
    before = orin.open_files()
    instruments = BoardSampler(0.0, str(root), str(orin.program(tmp_path / "t", "time.sleep(600)")))
    with pytest.raises(OSError, match="statm"):
        Sampler(2**22 + 1, instruments=instruments)
    assert orin.open_files() == before


def test_a_timed_window_has_them_and_a_run_does_not_ask(worker: EngineWorker, feed: dict[str, Any]) -> None:
    """Through the real agent: reasons and columns come with timed windows."""
    worker.run(feed)
    timed = worker.time([feed], warmup=0.05, seconds=0.5, min_samples=5, max_samples=10**7)
    seen = timed.telemetry
    assert {"not_readable", "sources", "rss", "t"} <= set(seen)
    assert {len(seen[name]) for name in set(seen) - EXTRA} == {len(seen["t"])}
    assert "power.total" in {**seen, **seen["not_readable"]}


def test_the_columns_of_a_line_are_shares_and_hertz(tmp_path: Path) -> None:
    """A load of a user's line without clocks gives no clock; 0 MHz is one that is not shown."""
    (tmp_path / "sys").mkdir()
    line = ORIN_NANO_R36.replace("GR3D_FREQ 0%", "GR3D_FREQ 7%@[0]")
    told = sampled(tmp_path / "sys", orin.tegrastats(tmp_path / "t", line), 1.0)
    assert told["load.gpu"][-1] == 0.07
    assert "clock.gpu" not in told
    assert told["temperature.gpu"][-1] == 45.968
    assert told["power.total"][-1] == 5.263
