"""A sysfs tree with the sensors of an AGX Orin or an Orin Nano, and a matching tegrastats."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

ZONES = {
    "cpu-thermal": 44156,
    "gpu-thermal": 45968,
    "cv0-thermal": 43000,
    "cv1-thermal": 43100,
    "cv2-thermal": 43200,
    "soc0-thermal": 44687,
    "soc1-thermal": 45312,
    "soc2-thermal": 43781,
    "tj-thermal": 45968,
    "Tboard_tegra": 32000,
    "Tdiode_tegra": 32250,
}
ALERTS = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2")
AGX = {"VDD_GPU_SOC": (19856, 240), "VDD_CPU_CV": (19864, 40), "VIN_SYS_5V0": (4968, 704)}
NANO = {"VDD_IN": (5104, 1031), "VDD_CPU_GPU_CV": (5104, 140), "VDD_SOC": (5104, 351)}
"""Rails by label: millivolts and milliamperes."""


def write(root: Path, path: str, text: object) -> Path:
    """Write one file."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")
    return file


def meter(root: Path, number: int, rails: dict[str, tuple[int, int]], chip: str = "ina3221") -> None:
    """Write an INA3221: three channels, the unused ones not connected, and the sum of shunt voltages."""
    folder = f"class/hwmon/hwmon{number}"
    write(root, f"{folder}/name", chip)
    channels = [*rails.items(), *[("NC", (0, 0))] * 3][:3]
    for at, (label, (volts, amperes)) in enumerate(channels, 1):
        write(root, f"{folder}/in{at}_label", label)
        write(root, f"{folder}/in{at}_input", volts)
        write(root, f"{folder}/curr{at}_input", amperes)
    write(root, f"{folder}/in7_label", "sum of shunt voltages")
    write(root, f"{folder}/in7_input", 40)


def sysfs(root: Path, rails: dict[str, tuple[int, int]]) -> Path:
    """Write the whole tree and return ``root``."""
    (root / "firmware/devicetree/base").mkdir(parents=True)
    compatible = b"nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0"
    (root / "firmware/devicetree/base/compatible").write_bytes(compatible)
    for number, (kind, millidegrees) in enumerate(ZONES.items()):
        write(root, f"class/thermal/thermal_zone{number}/type", kind)
        write(root, f"class/thermal/thermal_zone{number}/temp", millidegrees)
    devices = ["pwm-fan", "hot-surface-alert", "devfreq-17000000.gpu", *(f"{part}-throttle-alert" for part in ALERTS)]
    for number, kind in enumerate(devices):
        write(root, f"class/thermal/cooling_device{number}/type", kind)
        write(root, f"class/thermal/cooling_device{number}/cur_state", 3 if kind == "pwm-fan" else 0)
    for number in (0, 4, 8):
        write(root, f"devices/system/cpu/cpufreq/policy{number}/scaling_cur_freq", 729600)
    gpu = "class/devfreq/17000000.gpu"
    write(root, f"{gpu}/cur_freq", 306000000)
    write(root, f"{gpu}/device/load", 123)
    write(root, "kernel/debug/bpmp/debug/clk/emc/rate", 2133000000)
    write(root, "class/hwmon/hwmon0/name", "pwmfan")
    meter(root, 1, rails)
    meter(root, 2, {})
    write(root, "class/hwmon/hwmon3/name", "soctherm_oc")
    for number in (1, 2, 3):
        write(root, f"class/hwmon/hwmon3/oc{number}_event_cnt", number - 1)
        write(root, f"class/hwmon/hwmon3/oc{number}_throt_en", 1)
    return root


def program(path: Path, body: str) -> Path:
    """Write an executable Python script."""
    path.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def tegrastats(path: Path, line: str) -> Path:
    """Write a tegrastats that prints ``line`` at the requested interval and ignores SIGTERM."""
    body = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert sys.argv[1:] == ["--interval", "100"], sys.argv
while True:
    print({line!r}, flush=True)
    time.sleep(int(sys.argv[2]) / 1000)
"""
    return program(path, body)


def is_running(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def open_files() -> int:
    """Return the number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def exists(pid: int) -> bool:
    """Return whether the process exists, also as a zombie."""
    return Path(f"/proc/{pid}").exists()
