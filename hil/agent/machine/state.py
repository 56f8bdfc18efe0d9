"""Read the state of a machine: power mode, clocks, heat, throttling, GPU clients, swap.

An unreadable fact is None or missing, with the reason in ``not_readable``. Sources:
Documentation/ABI/testing/sysfs-class-thermal and -devfreq; L4T's hwmon ``soctherm_oc`` for over-current.
"""

import glob
import os
import time
from typing import Any, Dict, Iterator, Mapping, Optional, Set, Tuple

from ..jetson.power_mode import PowerMode
from . import clocks, gpu_clients
from . import process_memory as memory
from .sensor_names import MOST, folders, numbered, text_of, throttles

OVER_CURRENT = "soctherm_oc"
OFFLINE = -200.0
"""Degrees Celsius below which a value is not a reading: a sensor whose part is off reads -256."""
TRIPS = ("passive", "hot")
"""Types of trip points at which the kernel throttles or warns; ``active`` starts fans, ``critical`` powers off."""


def text(path: str) -> Tuple[Optional[str], str]:
    """Return the text of a file, at most 4096 bytes, and an empty reason; or None and why it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode("utf-8", "replace").strip("\0\n "), ""
    except OSError as error:
        return None, error.strerror or type(error).__name__


def number(path: str) -> Tuple[Optional[int], str]:
    """Return the integer in a file and an empty reason, or None and why there is none."""
    content, why = text(path)
    if content is None:
        return None, why
    try:
        return int(content), ""
    except ValueError:
        return None, "%.40r is not a number" % content


class StateReader:
    """Reads one machine's state below a root.

    ``nvpmodel`` is the program's path (None: search for it), ``archive`` the agent's own file. Each method adds to
    ``why`` the reason for what it cannot read.
    """

    def __init__(self, root: str = "/", nvpmodel: Optional[str] = None, archive: Optional[str] = None) -> None:
        self.sys = os.path.join(root, "sys")
        self.proc = os.path.join(root, "proc")
        self.power = PowerMode(root, nvpmodel)
        self.clients = gpu_clients.GpuClients(self.sys, self.proc, archive)

    def snapshot(
        self, gpu: Any = None, privileged: Optional[Mapping[str, Any]] = None, *, quick: bool = False
    ) -> Dict[str, Any]:
        """Return the state now: °C, Hz, bytes, counts; ``t`` in seconds of the kernel's monotonic clock.

        ``gpu`` is the ``nvml.Nvml`` of a discrete GPU or of Thor. ``privileged`` is what a root helper read. ``quick``
        omits trip points, power mode, clocks, whether they are locked, and GPU clients.
        """
        why: Dict[str, str] = {}
        state: Dict[str, Any] = {
            "t": time.monotonic(),
            "temperature": self.temperatures(why, gpu),
            "throttle": self.throttle(why),
            "over_current": self.over_current(why),
        }
        state.update(self.memory(why))
        if not quick:
            state["trips"] = self.trips()
            state["power_mode"] = self.power.read(why)
            part_clocks = clocks.read(self.sys, why, privileged)
            state["clocks"] = part_clocks
            state["locked"] = clocks.locked(part_clocks, why)
            state["gpu_clients"] = self.clients.read(gpu, why, privileged)
        state["not_readable"] = why
        return state

    def _zones(self) -> Iterator[Tuple[str, str]]:
        """Yield name and folder of each thermal zone; the names are those of a timed window's columns."""
        names: Set[str] = set()
        for folder in folders(self.sys, "class", "thermal", "thermal_zone*")[:MOST]:
            name = numbered(text_of(folder + "/type") or os.path.basename(folder), names)
            names.add(name)
            yield name, folder

    def temperatures(self, why: Dict[str, str], gpu: Any) -> Dict[str, float]:
        """Return °C by thermal zone type, and NVML's temperature as ``gpu`` (``gpu.2`` if a zone is called ``gpu``)."""
        degrees: Dict[str, float] = {}
        for name, folder in self._zones():
            value, reason = number(folder + "/temp")
            if value is None or value * 1e-3 <= OFFLINE:
                why["temperature." + name] = reason or "the sensor is off"
            else:
                degrees[name] = value * 1e-3
        from_nvml = gpu.temperature() if gpu is not None else None
        if from_nvml is not None:
            degrees[numbered("gpu", degrees)] = float(from_nvml)
        if not degrees:
            why.setdefault("temperature", "no thermal zone can be read")
        return degrees

    def trips(self) -> Dict[str, float]:
        """Return, for each zone, the lowest temperature (°C) at which the kernel throttles or warns.

        Zones without such a trip point are left out.
        """
        lowest: Dict[str, float] = {}
        for name, folder in self._zones():
            kinds = [(path, text_of(path)) for path in folders(folder, "trip_point_*_type")]
            temperatures = [number(path[: -len("type")] + "temp")[0] for path, kind in kinds if kind in TRIPS]
            known = [value * 1e-3 for value in temperatures if value is not None and value > 0]
            if known:
                lowest[name] = min(known)
        return lowest

    def throttle(self, why: Dict[str, str]) -> Dict[str, int]:
        """Return ``cur_state`` of each cooling device that can slow down GPU or CPUs; above 0, it does so now."""
        states: Dict[str, int] = {}
        names: Set[str] = set()
        devices = [(path, text_of(path + "/type") or "") for path in folders(self.sys, "class/thermal/cooling_device*")]
        for folder, kind in [path for path in devices if throttles(path[1])][:MOST]:
            name = numbered(kind, names)
            names.add(name)
            value, reason = number(folder + "/cur_state")
            if value is None:
                why["throttle." + name] = reason
            else:
                states[name] = value
        return states

    def over_current(self, why: Dict[str, str]) -> Dict[str, int]:
        """Return the over-current events since boot, by alarm.

        ``oc1`` is under-voltage, ``oc2`` average current, ``oc3`` instantaneous current.
        """
        counts: Dict[str, int] = {}
        for folder in sorted(glob.glob(self.sys + "/class/hwmon/hwmon*"))[:MOST]:
            if text(folder + "/name")[0] != OVER_CURRENT:
                continue
            for path in sorted(glob.glob(folder + "/oc*_event_cnt")):
                name = os.path.basename(path).split("_")[0]
                value, reason = number(path)
                if value is None:
                    why["over_current." + name] = reason
                else:
                    counts[name] = value
        return counts

    def memory(self, why: Dict[str, str]) -> Dict[str, Optional[int]]:
        """Return ``swap_used`` and ``memory_available`` in bytes; None if unknown."""
        fields = memory.fields(self.proc + "/meminfo")
        total, free, available = (fields.get(name) for name in ("SwapTotal", "SwapFree", "MemAvailable"))
        for name, value in (("swap_used", free if total is not None else None), ("memory_available", available)):
            if value is None:
                why[name] = "%s/meminfo lacks it" % self.proc
        used = None if total is None or free is None else total - free
        return {"swap_used": used, "memory_available": available}
