"""``/sys`` entries that the boards of a family share, with each module's values.

Temperatures are in millidegrees, GPU clocks in hertz, CPU clocks in kilohertz, as the kernel has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Facts = dict[str, Any]
POLICY = "/sys/devices/system/cpu/cpufreq/policy{}/scaling_{}_freq"
NVGPU_NODES = ["nvhost-gpu", "nvhost-ctrl-gpu", "nvmap"]
THOR_NODES = ["nvidia0", "nvidiactl", "nvidia-uvm"]


def zone(temperature: int | None, *trips: tuple[str, int]) -> Facts:
    """Return a thermal zone; a temperature of None is a sensor that is off."""
    return {"temp": temperature, "trips": list(trips)}


def orin_zones() -> Facts:
    """Return Orin's zones at the temperatures of an idle board. cv0 to cv2 are off, like DLA and PVA."""
    passive, critical = ("passive", 99000), ("critical", 104500)
    readings = {"cpu": 44156, "gpu": 45968, "cv0": None, "cv1": None, "cv2": None}
    readings |= {"soc0": 44687, "soc1": 45312, "soc2": 43781, "tj": 45968}
    return {f"{name}-thermal": zone(value, passive, critical) for name, value in readings.items()}


def orin_cooling(gpu_name: str = "17000000.gpu") -> Facts:
    """Return Orin's throttle alerts, and a fan, which is not an alert."""
    names = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2")
    alerts = {f"{name}-throttle-alert": [0, 1] for name in names}
    return {"pwm-fan": [1, 3], **alerts, "hot-surface-alert": [0, 1], f"devfreq-{gpu_name}": [0, 10]}


def over_current() -> Facts:
    """Return Orin's counters of under-voltage, average and instantaneous over-current."""
    files = {f"oc{number}_event_cnt": 0 for number in (1, 2, 3)} | {f"oc{number}_throt_en": 1 for number in (1, 2, 3)}
    return {"name": "soctherm_oc", "device": "platform/soctherm-oc-event", "files": files}


def ina3221(address: str, *rails: tuple[str, int, int]) -> Facts:
    """Return a power monitor with (label, mV, mA) for each channel; channel 7 is not a rail."""
    files: Facts = {}
    for number, (label, millivolt, milliampere) in enumerate(rails, 1):
        files |= {f"in{number}_label": label, f"in{number}_input": millivolt, f"curr{number}_input": milliampere}
    files |= {"in7_label": "sum of shunt voltages", "in7_input": 0}
    return {"name": "ina3221", "device": f"platform/c240000.i2c/i2c-1/{address}", "files": files}


def gpu(name: str, device: str, node: str, available: list[int], governor: str = "nvhost_podgov") -> Facts:
    """Return the clock of an idle GPU."""
    low, high = available[0], available[-1]
    made = {"name": name, "device": device, "node": node, "governor": governor, "available": available}
    return made | {"min_freq": low, "max_freq": high, "cur_freq": low, "load": 0}


def policy(first: int, count: int, low: int, high: int, governor: str = "schedutil") -> Facts:
    """Return idle cores that share a clock."""
    return {"cpus": list(range(first, first + count)), "min": low, "max": high, "cur": low, "governor": governor}


def emc(rate: int, low: int, high: int) -> Facts:
    """Return the files of the memory's clock below ``/sys/kernel/debug``."""
    place = "bpmp/debug/clk/emc"
    return {f"{place}/rate": rate, f"{place}/min_rate": low, f"{place}/max_rate": high}


Mode = tuple[str, "int | None", int, int]


def power_modes(device: Facts, policies: list[Facts], default: int, modes: Sequence[Mode]) -> Facts:
    """Return ``nvpmodel.conf``. A mode is (name, TPC mask, max GPU clock, max CPU clock); -1 is unlimited."""
    folder = f"/sys/class/devfreq/{device['name']}"
    clock = {"MAX_FREQ": f"{folder}/max_freq", "MIN_FREQ": f"{folder}/min_freq"}
    parameters: Facts = {
        "TPC_POWER_GATING": {"type": "FILE", "arguments": {"TPC_PG_MASK": "/sys/devices/gpu.0/tpc_pg_mask"}}
    }
    parameters |= {"GPU": {"type": "CLOCK", "arguments": clock}}
    highest, lowest = {"GPU": device["max_freq"]}, {"GPU": device["min_freq"]}
    for number, cores in enumerate(policies):
        first = cores["cpus"][0]
        places = {"MAX_FREQ": POLICY.format(first, "max"), "MIN_FREQ": POLICY.format(first, "min")}
        parameters[f"CPU_{number}"] = {"type": "CLOCK", "arguments": places}
        highest[f"CPU_{number}"], lowest[f"CPU_{number}"] = cores["max"], cores["min"]
    made = []
    for identity, (name, mask, gpu_clock, cpu_clock) in enumerate(modes):
        settings = [] if mask is None else [f"TPC_POWER_GATING TPC_PG_MASK {mask}"]
        settings += ["GPU MIN_FREQ 0", f"GPU MAX_FREQ {gpu_clock}"]
        for number in range(len(policies)):
            settings += [f"CPU_{number} MIN_FREQ 0", f"CPU_{number} MAX_FREQ {cpu_clock}"]
        made.append({"id": identity, "name": name, "settings": settings})
    return {"parameters": parameters, "modes": made, "default": default, "highest": highest, "lowest": lowest}


def in_mode(facts: Facts) -> Facts:
    """Return the facts after booting: clocks limited by the default power mode."""
    modes = facts["power_modes"]
    chosen = modes["modes"][modes["default"]]
    for line in chosen["settings"]:
        name, argument, value = line.split()
        if argument == "MAX_FREQ" and value != "-1":
            if name == "GPU":
                facts["devfreq"][0]["max_freq"] = int(value)
            else:
                facts["cpufreq"][int(name[4:])]["limit"] = int(value)
        if argument == "TPC_PG_MASK":
            facts["sys"]["devices/gpu.0/tpc_pg_mask"] = value
    return facts
