"""The state a machine is in: power mode, clocks, heat, throttling, who else uses the GPU, swap. Reads, changes nothing.

A fact that cannot be read is None (or not among those told), with the reason in ``not_readable``; it is never zero.
Files: Documentation/ABI/testing/sysfs-class-thermal and -devfreq; L4T's hwmon ``soctherm_oc`` for over-current counts.
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
"""Degrees Celsius: what is colder is no reading; a sensor of a part that is off says -256."""
TRIPS = ("passive", "hot")
"""Types of trip points at which the kernel throttles or warns; fans begin at ``active``, power ends at ``critical``."""


def text(path: str) -> Tuple[Optional[str], str]:
    """The first words of a small file and an empty reason, or None and why it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode("utf-8", "replace").strip("\0\n "), ""
    except OSError as error:
        return None, error.strerror or type(error).__name__


def number(path: str) -> Tuple[Optional[int], str]:
    """The integer that a file holds and an empty reason, or None and why there is none."""
    said, why = text(path)
    if said is None:
        return None, why
    try:
        return int(said), ""
    except ValueError:
        return None, "%.40r is no number" % said


class StateReader:
    """Reads one machine's state; the roots are parameters, so that a tree can stand for it."""

    def __init__(self, root: str = "/", nvpmodel: Optional[str] = None, archive: Optional[str] = None) -> None:
        self.sys = os.path.join(root, "sys")
        self.proc = os.path.join(root, "proc")
        self.power = PowerMode(root, nvpmodel)
        self.clients = gpu_clients.GpuClients(self.sys, self.proc, archive)

    def snapshot(
        self, gpu: Any = None, privileged: Optional[Mapping[str, Any]] = None, *, quick: bool = False
    ) -> Dict[str, Any]:
        """All of it now: degrees Celsius, Hz, bytes, counts; ``t`` in seconds as the kernel's monotonic clock has it.

        ``gpu`` is the discrete GPU's or Thor's ``nvml.Nvml``; ``privileged`` what a root helper read (``emc`` limits,
        ``nvmap`` list). ``quick`` leaves out what takes a process or a list of clients, for those who poll.
        """
        why: Dict[str, str] = {}
        found: Dict[str, Any] = {
            "t": time.monotonic(),
            "temperature": self.temperatures(why, gpu),
            "throttle": self.throttle(why),
            "over_current": self.over_current(why),
        }
        found.update(self.memory(why))
        if not quick:
            found["trips"] = self.trips()
            found["power_mode"] = self.power.read(why)
            known = clocks.read(self.sys, why, privileged)
            found["clocks"] = known
            found["locked"] = clocks.locked(known, why)
            found["gpu_clients"] = self.clients.read(gpu, why, privileged)
        found["not_readable"] = why
        return found

    def _zones(self) -> Iterator[Tuple[str, str]]:
        """Name and folder of each; named as the columns of a timed window are."""
        taken: Set[str] = set()
        for folder in folders(self.sys, "class", "thermal", "thermal_zone*")[:MOST]:
            name = numbered(text_of(folder + "/type") or os.path.basename(folder), taken)
            taken.add(name)
            yield name, folder

    def temperatures(self, why: Dict[str, str], gpu: Any) -> Dict[str, float]:
        """By the zones' own types; of a GPU with a driver of its own ``gpu``, as NVML tells it."""
        found: Dict[str, float] = {}
        for name, folder in self._zones():
            value, reason = number(folder + "/temp")
            if value is None or value * 1e-3 <= OFFLINE:
                why["temperature." + name] = reason or "the sensor is off"
            else:
                found[name] = value * 1e-3
        told = gpu.temperature() if gpu is not None else None
        if told is not None:
            found[numbered("gpu", found)] = float(told)
        if not found:
            why.setdefault("temperature", "no thermal zone can be read")
        return found

    def trips(self) -> Dict[str, float]:
        """The lowest temperature of each zone at which something is held back; none of a zone that tells none."""
        found: Dict[str, float] = {}
        for name, folder in self._zones():
            kinds = [(path, text_of(path)) for path in folders(folder, "trip_point_*_type")]
            read = [number(path[: -len("type")] + "temp")[0] for path, kind in kinds if kind in TRIPS]
            known = [value * 1e-3 for value in read if value is not None and value > 0]
            if known:
                found[name] = min(known)
        return found

    def throttle(self, why: Dict[str, str]) -> Dict[str, int]:
        """``cur_state`` of each alert and cap; above 0 the kernel holds something back."""
        found: Dict[str, int] = {}
        taken: Set[str] = set()
        known = [(one, text_of(one + "/type") or "") for one in folders(self.sys, "class/thermal/cooling_device*")]
        for folder, kind in [one for one in known if throttles(one[1])][:MOST]:
            name = numbered(kind, taken)
            taken.add(name)
            value, reason = number(folder + "/cur_state")
            if value is None:
                why["throttle." + name] = reason
            else:
                found[name] = value
        return found

    def over_current(self, why: Dict[str, str]) -> Dict[str, int]:
        """Events since boot by ``oc1`` (under-voltage), ``oc2`` (average current), ``oc3`` (instantaneous current)."""
        found: Dict[str, int] = {}
        for folder in sorted(glob.glob(self.sys + "/class/hwmon/hwmon*"))[:MOST]:
            if text(folder + "/name")[0] != OVER_CURRENT:
                continue
            for path in sorted(glob.glob(folder + "/oc*_event_cnt")):
                name = os.path.basename(path).split("_")[0]
                value, reason = number(path)
                if value is None:
                    why["over_current." + name] = reason
                else:
                    found[name] = value
        return found

    def memory(self, why: Dict[str, str]) -> Dict[str, Optional[int]]:
        """``swap_used`` and ``memory_available`` in bytes."""
        fields = memory.fields(self.proc + "/meminfo")
        total, free, available = (fields.get(name) for name in ("SwapTotal", "SwapFree", "MemAvailable"))
        for name, value in (("swap_used", free if total is not None else None), ("memory_available", available)):
            if value is None:
                why[name] = "%s/meminfo does not tell" % self.proc
        used = None if total is None or free is None else total - free
        return {"swap_used": used, "memory_available": available}
