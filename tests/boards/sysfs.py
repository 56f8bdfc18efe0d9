"""A Jetson's ``/sys``: device tree, temperatures, throttle alerts, clocks, rails and memory, as plain files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
READABLE, WRITABLE = 0o444, 0o644


def make(sys: Path, facts: Facts) -> None:
    """Create all files below ``sys`` from the generation's facts."""
    _device_tree(sys / "firmware/devicetree/base", facts)
    _processors(sys / "devices/system/cpu", facts)
    _thermal(sys, facts)
    for device in facts["devfreq"]:
        _devfreq(sys, device)
    _rails(sys, facts)
    for place, content in facts["sys"].items():
        put(sys / place, content, WRITABLE)
    _debug(sys / "kernel/debug", facts)


def put(place: Path, content: object, mode: int = READABLE) -> None:
    """Write one attribute, with a final newline like the kernel."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{content}\n", encoding="utf-8")
    place.chmod(mode)


def _link(place: Path, target: Path) -> None:
    """Create a relative link between two paths below the same ``sys``."""
    place.parent.mkdir(parents=True, exist_ok=True)
    up = len(place.parent.relative_to(_top(place)).parts)
    place.symlink_to(Path(*[".."] * up) / target.relative_to(_top(place)))


def _top(place: Path) -> Path:
    return next(parent for parent in place.parents if parent.name == "sys")


def _device_tree(base: Path, facts: Facts) -> None:
    """Create the device tree. Strings, and each part of ``compatible``, end with NUL."""
    base.mkdir(parents=True)
    texts = {"compatible": "\0".join(facts["compatible"]), "model": facts["model"]}
    if facts["serial"] is not None:
        texts["serial-number"] = facts["serial"]
    for name, text in texts.items():
        (base / name).write_bytes(text.encode() + b"\0")


def _processors(place: Path, facts: Facts) -> None:
    """Copy this machine's processor files, which onnxruntime reads; create the board's clocks."""
    real = Path("/sys/devices/system/cpu")
    place.mkdir(parents=True)
    for name in ("possible", "present", "online", "offline", "kernel_max", "isolated"):
        if (real / name).is_file():
            shutil.copyfile(real / name, place / name)
    for cpu in real.glob("cpu[0-9]*"):
        for part in ("topology", "cache"):
            for file in (cpu / part).rglob("*"):
                if file.is_file() and file.stat().st_mode & 0o400:
                    target = place / file.relative_to(real)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(_attribute(file))
    for policy in facts["cpufreq"]:
        folder = place / f"cpufreq/policy{policy['cpus'][0]}"
        put(folder / "related_cpus", " ".join(map(str, policy["cpus"])))
        put(folder / "affected_cpus", " ".join(map(str, policy["cpus"])))
        put(folder / "cpuinfo_min_freq", policy["min"])
        put(folder / "cpuinfo_max_freq", policy["max"])
        put(folder / "scaling_min_freq", policy["min"], WRITABLE)
        put(folder / "scaling_max_freq", policy.get("limit", policy["max"]), WRITABLE)
        put(folder / "scaling_cur_freq", policy["cur"])
        put(folder / "scaling_governor", policy["governor"], WRITABLE)
        for cpu in policy["cpus"]:
            put(place / f"cpu{cpu}/online", 1, WRITABLE)
            _link(place / f"cpu{cpu}/cpufreq", folder)


def _attribute(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _thermal(sys: Path, facts: Facts) -> None:
    """Create thermal zones and cooling devices. A zone that is off is unreadable: its ``temp`` is a folder."""
    devices, by_class = sys / "devices/virtual/thermal", sys / "class/thermal"
    for number, (kind, zone) in enumerate(facts["thermal"].items()):
        folder = devices / f"thermal_zone{number}"
        put(folder / "type", kind)
        put(folder / "mode", "enabled")
        if zone["temp"] is None:
            (folder / "temp").mkdir()
        else:
            put(folder / "temp", zone["temp"])
        for trip, (what, temperature) in enumerate(zone["trips"]):
            put(folder / f"trip_point_{trip}_type", what)
            put(folder / f"trip_point_{trip}_temp", temperature)
        _link(by_class / folder.name, folder)
    for number, (kind, (state, most)) in enumerate(facts["cooling"].items()):
        folder = devices / f"cooling_device{number}"
        put(folder / "type", kind)
        put(folder / "cur_state", state, WRITABLE)
        put(folder / "max_state", most)
        _link(by_class / folder.name, folder)


def _devfreq(sys: Path, device: Facts) -> None:
    """Create a devfreq clock: the GPU's, on Thor also the memory's."""
    owner = sys / "devices" / device["device"]
    folder = owner / "devfreq" / device["name"]
    for name in ("min_freq", "max_freq"):
        put(folder / name, device[name], WRITABLE)
    put(folder / "cur_freq", device["cur_freq"])
    put(folder / "governor", device["governor"], WRITABLE)
    put(folder / "available_frequencies", " ".join(map(str, device["available"])))
    (owner / "of_node").mkdir(exist_ok=True)
    (owner / "of_node/name").write_bytes(device["node"].encode() + b"\0")
    if "load" in device:
        put(owner / "load", device["load"])
    _link(owner / "devfreq_dev", folder)
    _link(folder / "device", owner)
    _link(sys / "class/devfreq" / device["name"], folder)


def _rails(sys: Path, facts: Facts) -> None:
    """Create the power monitors: ina3221 and over-current counters in hwmon, JetPack 4's in iio."""
    for number, chip in enumerate(facts["hwmon"]):
        folder = sys / "devices" / chip["device"] / f"hwmon/hwmon{number}"
        put(folder / "name", chip["name"])
        for name, value in chip["files"].items():
            put(folder / name, value)
        _link(sys / "class/hwmon" / folder.name, folder)
    for number, chip in enumerate(facts.get("iio", [])):
        folder = sys / "devices" / chip["device"] / f"iio:device{number}"
        put(folder / "name", chip["name"])
        for name, value in chip["files"].items():
            put(folder / name, value)
        _link(sys / "bus/iio/devices" / folder.name, folder)


def _debug(debug: Path, facts: Facts) -> None:
    """Create the files that only root can read: the memory's clock, and the clients with GPU memory."""
    debug.mkdir(parents=True, exist_ok=True)
    for place, content in facts["debug"].items():
        put(debug / place, content, WRITABLE)
    if facts["nvmap"]:
        header = f"{'CLIENT':<20}{'PROCESS':>20}{'PID':>12}{'SIZE':>12}\n"
        put(debug / "nvmap/iovmm/clients", header + "total                                                     0K")
        put(debug / "nvmap/stats/total_memory", 0)
    debug.chmod(0o700)
