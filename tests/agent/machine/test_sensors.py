"""A board's sensors are identified by type and label and read in base units."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.agent.jetson import power_rails
from hil.agent.machine.sensors import Channel, Sensors
from tests.agent.jetson import orin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def open_sensors() -> Iterator[Callable[[Path], Sensors]]:
    """Return a function that opens the sensors of a tree; all are closed after the test."""
    opened = []

    def open_tree(root: Path) -> Sensors:
        opened.append(Sensors(str(root)))
        return opened[-1]

    yield open_tree
    for sensors in opened:
        sensors.close()


def read(sensors: Sensors) -> dict[str, float | None]:
    """Return all columns now."""
    return {name: channel.read() for name, channel in sensors.channels.items()}


def test_an_orin_s_sensors(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """Every column has its name and base unit; fan, shunt sums and unconnected rails are left out."""
    sensors = open_sensors(orin.sysfs(tmp_path, orin.AGX))
    assert sensors.not_readable == {}
    assert read(sensors) == {
        **{f"clock.policy{number}": 729.6e6 for number in (0, 4, 8)},
        "clock.gpu": 306e6,
        "clock.emc": 2133e6,
        "load.gpu": pytest.approx(0.123),
        **{f"temperature.{zone}": pytest.approx(value / 1000) for zone, value in orin.ZONES.items()},
        **{f"throttle.{part}-throttle-alert": 0.0 for part in orin.ALERTS},
        "throttle.hot-surface-alert": 0.0,
        "throttle.devfreq-17000000.gpu": 0.0,
        "over_current.oc1": 0.0,
        "over_current.oc2": 1.0,
        "over_current.oc3": 2.0,
        "power.VDD_GPU_SOC": 4.76544,
        "power.VDD_CPU_CV": 0.79456,
        "power.VIN_SYS_5V0": 3.497472,
    }
    assert sensors.rails == ["power.VDD_GPU_SOC", "power.VDD_CPU_CV", "power.VIN_SYS_5V0"]


def test_each_read_gives_the_current_value(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """A file is opened once and reread each time."""
    root = orin.sysfs(tmp_path, orin.NANO)
    sensors = open_sensors(root)
    (root / "class/thermal/thermal_zone1/temp").write_text("83500\n")
    (root / "class/thermal/cooling_device4/cur_state").write_text("1\n")
    (root / "class/hwmon/hwmon1/curr1_input").write_text("2000\n")
    values = read(sensors)
    assert values["temperature.gpu-thermal"] == 83.5
    assert values["throttle.gpu-throttle-alert"] == 1.0
    assert values["power.VDD_IN"] == 10.208


def test_zones_of_one_type_stay_apart(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """The second and later zones of the same type are numbered in the kernel's order."""
    for number in (0, 2, 10):
        orin.write(tmp_path, f"class/thermal/thermal_zone{number}/type", "x86 pkg\ttemp")
        orin.write(tmp_path, f"class/thermal/thermal_zone{number}/temp", 1000 * number)
    values = read(open_sensors(tmp_path))
    assert values == {
        "temperature.x86_pkg_temp": 0.0,
        "temperature.x86_pkg_temp.2": 2.0,
        "temperature.x86_pkg_temp.3": 10.0,
    }


@pytest.mark.parametrize("text", ["", "nan", "inf", "-256000", "garbage", "1e999", "\0\0"])
def test_an_invalid_reading_is_none(text: str, tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """An invalid reading is None, never zero or NaN; a sensor that is off reads -256 °C."""
    root = orin.sysfs(tmp_path, orin.NANO)
    (root / "class/thermal/thermal_zone0/temp").write_text(text)
    (root / "class/hwmon/hwmon1/curr1_input").write_text(text if text != "-256000" else "x")
    values = read(open_sensors(root))
    assert values["temperature.cpu-thermal"] is None
    assert values["power.VDD_IN"] is None
    assert values["temperature.gpu-thermal"] is not None


def test_two_negative_factors_give_no_power(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """A negative voltage gives no power, whatever the current; a small negative current gives a negative power."""
    root = orin.sysfs(tmp_path, orin.AGX)
    for name, volts, amperes in (("1", -5000, -900), ("2", 5000, -8)):
        (root / f"class/hwmon/hwmon1/in{name}_input").write_text(str(volts))
        (root / f"class/hwmon/hwmon1/curr{name}_input").write_text(str(amperes))
    values = read(open_sensors(root))
    assert values["power.VDD_GPU_SOC"] is None
    assert values["power.VDD_CPU_CV"] == -0.04


def test_jetpack_4_has_its_rails_in_iio(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """On JetPack 4, IIO files give each rail's name and its power in mW; a rail with two paths counts once."""
    folder = "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for number, (label, milliwatts) in enumerate([("POM_5V_IN", 933), ("POM_5V_GPU", 0), ("NC", 7)]):
        for place in (folder, "bus/iio/devices/iio:device0"):
            orin.write(tmp_path, f"{place}/rail_name_{number}", label)
            orin.write(tmp_path, f"{place}/in_power{number}_input", milliwatts)
    sensors = open_sensors(tmp_path)
    assert read(sensors) == {"power.POM_5V_IN": 0.933, "power.POM_5V_GPU": 0.0}
    assert power_rails.total(["POM_5V_IN", "POM_5V_GPU"], {}) == (["POM_5V_IN"], "POM_5V_IN")


def test_thor_has_a_meter_on_its_input(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """On Thor, an INA238 without a label gives the input's power, in µW; GPC and bandwidth manager give the clocks."""
    orin.meter(tmp_path, 0, {"VDD_GPU": (12000, 163), "VDD_CPU_SOC_MSS": (12000, 490), "VIN_SYS_5V0": (5000, 1127)})
    orin.write(tmp_path, "class/hwmon/hwmon1/name", "ina238")
    orin.write(tmp_path, "class/hwmon/hwmon1/power1_input", 19780000)
    orin.write(tmp_path, "class/devfreq/gpu-gpc-0/cur_freq", 314000000)
    orin.write(tmp_path, "class/devfreq/gpu-nvd-0/cur_freq", 999)
    orin.write(tmp_path, "class/devfreq/bwmgr/cur_freq", 4266000000)
    values = read(open_sensors(tmp_path))
    assert values == {
        "power.VDD_GPU": 1.956,
        "power.VDD_CPU_SOC_MSS": 5.88,
        "power.VIN_SYS_5V0": 5.635,
        "power.VIN": pytest.approx(19.78),
        "clock.gpu": 314e6,
        "clock.emc": 4266e6,
    }


def test_a_gpu_is_known_by_its_node_too(tmp_path: Path, open_sensors: Callable[[Path], Sensors]) -> None:
    """If the name of the GPU's folder is unknown, the device tree node identifies the GPU."""
    orin.write(tmp_path, "class/devfreq/1.bus/cur_freq", 1)
    orin.write(tmp_path, "class/devfreq/57000000.thing/cur_freq", 76800000)
    orin.write(tmp_path, "class/devfreq/57000000.thing/device/of_node/name", "gpu\0")
    assert read(open_sensors(tmp_path)) == {"clock.gpu": 76.8e6}


UNPRIVILEGED = 65534


def test_sensors_that_only_root_may_read_are_listed() -> None:
    """A sensor that exists and may not be read is listed with the reason, and has no column."""
    with tempfile.TemporaryDirectory() as folder:
        root = orin.sysfs(Path(folder), orin.AGX)
        root.chmod(0o755)
        for path in ("class/thermal/thermal_zone0/temp", "class/hwmon/hwmon1/curr2_input", "kernel/debug"):
            (root / path).chmod(0)
        privileged = os.geteuid() == 0
        if privileged:
            os.seteuid(UNPRIVILEGED)
        try:
            sensors = Sensors(str(root))
        finally:
            if privileged:
                os.seteuid(0)
            (root / "kernel/debug").chmod(0o755)
        names = set(sensors.channels)
        sensors.close()
    assert sensors.not_readable == {
        **dict.fromkeys(("temperature.cpu-thermal", "power.VDD_CPU_CV"), "Permission denied"),
        "clock.emc": "only root may read /sys/kernel/debug",
    }
    assert not names & set(sensors.not_readable)


def test_closing_closes_every_file(tmp_path: Path) -> None:
    """Closing leaves no file open, even if only one file of a rail could be opened."""
    root = orin.sysfs(tmp_path, orin.AGX)
    (root / "class/hwmon/hwmon1/curr2_input").unlink()
    before = orin.open_files()
    sensors = Sensors(str(root))
    assert orin.open_files() > before
    sensors.close()
    assert orin.open_files() == before
    assert sensors.not_readable["power.VDD_CPU_CV"] == "No such file or directory"


def test_opening_a_pipe_does_not_block(tmp_path: Path) -> None:
    """A pipe at a sensor's path does not block when it is opened, and gives no reading."""
    os.mkfifo(tmp_path / "pipe")
    channel = Channel(str(tmp_path / "pipe"), 1.0)
    assert channel.read() is None
    channel.close()


@pytest.mark.parametrize(
    ("rails", "missing", "label"),
    [
        (["VDD_IN", "VDD_SOC"], {}, "VDD_IN"),
        (["VDD_IN"], {"VDD_SOC": "why"}, "VDD_IN"),
        (["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"], {}, "VIN"),
        (["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"], {}, "sum of GPU, CPU, SOC, CV, VDDRQ, SYS5V"),
        (["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], {}, "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"),
    ],
)
def test_which_rails_are_the_board_s_power(rails: list[str], missing: dict[str, str], label: str) -> None:
    """The board's power is that of the meter on its input or, without one, of rails that are known to add up."""
    assert power_rails.total(rails, missing)[1] == label


@pytest.mark.parametrize(
    ("rails", "missing", "why"),
    [
        ([], {}, "no known meter"),
        (["VDD_SOC"], {"VDD_IN": "Permission denied"}, "VDD_IN, the meter on the board's input"),
        (["VDD_GPU_SOC", "VIN_SYS_5V0", "VDD_CPU_CV"], {"VDDQ": "gave no reading"}, "without it a sum is too low"),
        (["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"], {}, "not known to add up"),
        (["POM_5V_GPU", "POM_5V_CPU"], {}, "not known to add up"),
        (["GPU", "CPU", "SOC", "CV", "VDDRQ"], {}, "not known to add up"),
    ],
)
def test_an_incomplete_sum_is_no_total(rails: list[str], missing: dict[str, str], why: str) -> None:
    """If a rail is missing or the rails are not known to add up, there is no total, and the reason names the cause."""
    names, reason = power_rails.total(rails, missing)
    assert names == []
    assert why in reason


def test_a_sample_with_a_gap_has_no_total() -> None:
    """A sample in which a rail has no reading, or whose sum is not positive, has no total."""
    columns: dict[str, list[float | None]] = {"power.a": [1.0, None, 0.0, 2.0], "power.b": [2.5, 2.5, 0.0, -3.0]}
    assert power_rails.column(["power.a", "power.b"], columns) == [3.5, None, None, None]
