"""Sampling a worker from outside while it works: memory, clocks, temperatures.

A sample opens nothing: every file is opened once and read again at offset 0, so that ten a second cost
the machine well under 1 % of one core. Where the worker has a GPU, its memory there is read more often,
since a peak between two samples is not seen; the slower sensors keep their ten a second.
"""

import glob
import os
from typing import Any, Callable, Dict, List, Optional

from .device_memory import Watch
from .memory import PAGE

INTERVAL = 0.1
INTERVAL_DEVICE = 0.02
MAX_KEPT = 2000
MAX_CHANNELS = 16
DEVFREQ = ("*.gpu", "*.gp10b", "*.gv11b", "*.ga10b")  # Nano and newer kernels, TX2, Xavier, Orin


class Channel:
    """One number in one file; ``scale`` brings it to base units, ``word`` picks it out of the line."""

    def __init__(self, path: str, scale: float, word: int = 0) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.scale = scale
        self.word = word

    def read(self) -> Any:
        """The value now; None where it cannot be read (some sensors fail while a part is off)."""
        try:
            return float(os.pread(self.fd, 256, 0).split()[self.word]) * self.scale
        except (OSError, ValueError, IndexError):
            return None

    def close(self) -> None:
        """Closes the file."""
        os.close(self.fd)


def _open(pattern: str, scale: float, label: str) -> Dict[str, Channel]:
    """A channel for each file that can be read now, named after the folder that holds it."""
    found = {}
    for path in sorted(glob.glob(pattern))[:MAX_CHANNELS]:
        try:
            channel = Channel(path, scale)
        except OSError:
            continue
        if channel.read() is None:
            channel.close()
        else:
            found[label + os.path.basename(os.path.dirname(path))] = channel
    return found


def sensors() -> Dict[str, Channel]:
    """Clocks in Hz (one a cpufreq policy) and temperatures in degrees Celsius (one a thermal zone)."""
    found = _open("/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq", 1e3, "clock.")
    found.update(_open("/sys/class/thermal/thermal_zone*/temp", 1e-3, "temperature."))
    return found


class Sensor:
    """A reading that a function gives; ``None`` where there is none."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read

    def close(self) -> None:
        """Nothing is open."""


def gpu_sensors(watch: Watch) -> Dict[str, Any]:
    """SM clock (Hz), temperature (degrees Celsius), power (W) and what holds the clocks back (NVML's bits).

    Those that NVML can read; without NVML (Orin and older) the GPU's clock as devfreq shows it.
    """
    found: Dict[str, Any] = {}
    gpu = watch.device.gpu
    if gpu is not None:
        told = {"clock": gpu.clock, "temperature": gpu.temperature, "power": gpu.power, "throttle": gpu.throttle}
        found = {name + ".gpu": Sensor(read) for name, read in told.items() if read() is not None}
    if "clock.gpu" not in found:
        for pattern in DEVFREQ:
            found.update(_open("/sys/class/devfreq/%s/cur_freq" % pattern, 1.0, "clock."))
    return found


class Sampler:
    """Samples of one worker, each ``INTERVAL``; with a ``watch`` of its memory on a GPU each ``INTERVAL_DEVICE``.

    ``calm`` keeps to ``INTERVAL`` with a watch too, for what is timed or built: asking the driver less often is a
    precaution; what it costs there was not measured.
    When ``MAX_KEPT`` are there every other one is dropped; the watch keeps the peak of all of them.
    Source of the RSS: ``/proc/PID/statm`` (pages; 3rd word: shared pages, file and segment alike).
    """

    def __init__(self, pid: int, watch: Optional[Watch] = None, *, calm: bool = False) -> None:
        self.watch = watch
        self.interval = INTERVAL if watch is None or calm else INTERVAL_DEVICE
        self.channels: Dict[str, Any] = {"rss": Channel("/proc/%d/statm" % pid, PAGE, 1)}
        self.channels.update(sensors())
        if watch is not None:
            self.channels.update(gpu_sensors(watch))
        self.times: List[float] = []
        self.values: Dict[str, List[Any]] = {name: [] for name in self.channels}
        if watch is not None:
            self.values["memory.gpu"] = []
        self.highest_rss = 0.0
        self.taken = 0
        self.keep_each = 1
        self.due = 0.0
        self._slow_due = 0.0

    def take(self, now: float) -> None:
        """One sample at ``now`` (monotonic seconds, the clock that runs are timed by)."""
        self.due = now + self.interval
        self.taken += 1
        keep = not (self.taken - 1) % self.keep_each
        if self.watch is not None:
            self._take_device(now, keep=keep)
        elif keep:
            for name, channel in self.channels.items():
                self.values[name].append(channel.read())
        if keep:
            self.times.append(round(now, 4))
            self._thin()

    def _take_device(self, now: float, *, keep: bool) -> None:
        """Memory at each sample, kept or not; a slow sensor's column repeats its last reading in between."""
        rss = self.channels["rss"].read()
        self.highest_rss = max(self.highest_rss, rss or 0.0)
        used = self.watch.note() if self.watch is not None else None
        if not keep:
            return
        fresh = now >= self._slow_due
        if fresh:
            self._slow_due = now + INTERVAL
        for name, channel in self.channels.items():
            column = self.values[name]
            column.append(rss if name == "rss" else channel.read() if fresh or not column else column[-1])
        self.values["memory.gpu"].append(used)

    def _thin(self) -> None:
        if len(self.times) >= MAX_KEPT:
            self.keep_each *= 2
            self.times = self.times[::2]
            self.values = {name: column[::2] for name, column in self.values.items()}

    def report(self) -> Dict[str, Any]:
        """``{"interval": s, "taken": n, "t": […], "rss": […], "clock.policy0": […], …}`` in base units.

        A GPU adds ``memory.gpu`` and the columns of ``gpu_sensors``.
        """
        columns: Dict[str, Any] = dict(self.values)
        columns["t"] = self.times
        columns["interval"] = self.interval * self.keep_each
        columns["taken"] = self.taken
        return columns

    def close(self) -> None:
        """Closes every file."""
        for channel in self.channels.values():
            channel.close()
