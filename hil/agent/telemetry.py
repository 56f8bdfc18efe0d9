"""Sampling a worker from outside while it is timed: memory, clocks, temperatures.

A sample opens nothing: every file is opened once and read again at offset 0, so that ten a second cost
the machine well under 1 % of one core.
"""

import glob
import os
from typing import Any, Dict, List

from .memory import PAGE

INTERVAL = 0.1
MAX_KEPT = 2000
MAX_CHANNELS = 16


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


class Sampler:
    """Samples of one worker at ``INTERVAL``; when ``MAX_KEPT`` are there every other one is dropped.

    Source of the RSS: ``/proc/PID/statm`` (pages; 3rd word: shared pages, file and segment alike).
    """

    def __init__(self, pid: int) -> None:
        self.channels = {"rss": Channel("/proc/%d/statm" % pid, PAGE, 1)}
        self.channels.update(sensors())
        self.times: List[float] = []
        self.values: Dict[str, List[Any]] = {name: [] for name in self.channels}
        self.taken = 0
        self.keep_each = 1
        self.due = 0.0

    def take(self, now: float) -> None:
        """One sample at ``now`` (monotonic seconds, the clock that runs are timed by)."""
        self.due = now + INTERVAL
        self.taken += 1
        if (self.taken - 1) % self.keep_each:
            return
        self.times.append(round(now, 4))
        for name, channel in self.channels.items():
            self.values[name].append(channel.read())
        if len(self.times) >= MAX_KEPT:
            self.keep_each *= 2
            self.times = self.times[::2]
            self.values = {name: column[::2] for name, column in self.values.items()}

    def report(self) -> Dict[str, Any]:
        """``{"interval": s, "taken": n, "t": […], "rss": […], "clock.policy0": […], …}`` in base units."""
        columns: Dict[str, Any] = dict(self.values)
        columns["t"] = self.times
        columns["interval"] = INTERVAL * self.keep_each
        columns["taken"] = self.taken
        return columns

    def close(self) -> None:
        """Closes every file."""
        for channel in self.channels.values():
            channel.close()
