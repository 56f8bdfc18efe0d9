"""Read a machine's own sensors from sysfs: temperatures, clocks, throttling, over-current counts, power.

Names and paths are those of NVIDIA's kernels for each L4T release and of the kernel's documentation (thermal/sysfs-api,
hwmon/sysfs-interface, hwmon/ina3221, hwmon/ina238).
"""

import glob
import math
import os
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .sensor_names import GPUS, MOST, folders, numbered, text_of, throttles

GPU_NODES = ("gpu", "gp10b", "gv11b", "ga10b")
METERS = {"ina3221": (1, 2, 3)}
"""Channels with a bus voltage and a current, by chip; in7 is a sum of shunt voltages."""
INPUT_METER = "ina238"
"""The meter on Thor's input: it has one channel, no label, and reports its power in microwatts."""
COLDEST = -200.0
"""Degrees Celsius below which a value is not a reading: a sensor whose part is off reads -256."""


class Channel:
    """One number in one file; ``scale`` converts it to base units, ``word`` is its index among the file's words.

    A value below ``least`` is not a reading.
    """

    def __init__(self, path: str, scale: float, word: int = 0, least: float = -math.inf) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.scale = scale
        self.word = word
        self.least = least

    def read(self) -> Any:
        """Return the value now; None if it cannot be read, as with some sensors while their part is off."""
        try:
            value = float(os.pread(self.fd, 256, 0).split()[self.word]) * self.scale
        except (OSError, ValueError, IndexError):
            return None
        return value if math.isfinite(value) and value >= self.least else None

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


class Rail:
    """Power of one rail in W: voltage times current."""

    def __init__(self, volts: Channel, amperes: Channel) -> None:
        self.volts = volts
        self.amperes = amperes

    def read(self) -> Any:
        """Return the value now; None if voltage or current cannot be read."""
        volts, amperes = self.volts.read(), self.amperes.read()
        return None if volts is None or amperes is None else round(volts * amperes, 6)

    def close(self) -> None:
        """Close both files."""
        self.volts.close()
        self.amperes.close()


class Sensors:
    """The sensors below ``root`` (``/sys``): ``channels`` by column name; ``rails`` lists the power columns.

    ``not_readable`` gives the reason for each sensor that exists and cannot be read.
    """

    def __init__(self, root: str = "/sys") -> None:
        self.root = root
        self.channels: Dict[str, Any] = {}
        self.rails: List[str] = []
        self.not_readable: Dict[str, str] = {}
        for find in (self._clocks, self._zones, self._throttles, self._over_current, self._meters, self._iio):
            find()

    def close(self) -> None:
        """Close every file."""
        for channel in self.channels.values():
            channel.close()
        self.channels = {}

    def drop_silent(self, kinds: Tuple[str, ...]) -> None:
        """Close each channel whose name starts with one of ``kinds`` and that gives no reading now.

        ``not_readable`` then has the reason.
        """
        for name, channel in list(self.channels.items()):
            if name.startswith(kinds) and channel.read() is None:
                self.channels.pop(name).close()
                self.not_readable[name] = "gave no reading"

    def _add(self, name: str, make: Callable[[], Any]) -> Optional[str]:
        """Add the channel that ``make`` opens, and return its column name; None, with the reason recorded, if it fails.

        The name is numbered if ``name`` is in use.
        """
        name = numbered(name, self.channels, self.not_readable)
        try:
            self.channels[name] = make()
        except OSError as error:
            self.not_readable[name] = os.strerror(error.errno or 0)
            return None
        return name

    def _folders(self, *pattern: str) -> Iterator[str]:
        yield from folders(self.root, *pattern)[:MOST]

    def _clocks(self) -> None:
        for folder in self._folders("devices", "system", "cpu", "cpufreq", "policy*"):
            path = os.path.join(folder, "scaling_cur_freq")
            self._add("clock." + os.path.basename(folder), lambda path=path: Channel(path, 1e3))
            self._limits(os.path.basename(folder), os.path.join(folder, "scaling_%s_freq"), 1e3)
        for folder in self._folders("class", "devfreq", "*"):
            name = os.path.basename(folder)
            node = text_of(os.path.join(folder, "device", "of_node", "name"))
            if "clock.gpu" not in self.channels and (GPUS.fullmatch(name) or node in GPU_NODES):
                self._add("clock.gpu", lambda folder=folder: Channel(os.path.join(folder, "cur_freq"), 1.0))
                self._limits("gpu", os.path.join(folder, "%s_freq"), 1.0)
                load = os.path.join(folder, "device", "load")
                if os.path.exists(load):
                    self._add("load.gpu", lambda load=load: Channel(load, 1e-3, least=0.0))
            elif name == "bwmgr":  # Thor
                self._add("clock.emc", lambda folder=folder: Channel(os.path.join(folder, "cur_freq"), 1.0))
        rate = os.path.join(self.root, "kernel", "debug", "bpmp", "debug", "clk", "emc", "rate")
        if "clock.emc" not in self.channels and (os.path.exists(rate) or os.path.isdir(self.root + "/kernel/debug")):
            try:
                self.channels["clock.emc"] = Channel(rate, 1.0)
            except PermissionError:
                self.not_readable["clock.emc"] = "only root may read /sys/kernel/debug"
            except OSError:
                pass  # not a Tegra with a BPMP

    def _limits(self, part: str, pattern: str, scale: float) -> None:
        """Add the lower and upper limit of a clock as columns, so that a change during a timed window is recorded."""
        for key in ("min", "max"):
            path = pattern % key
            if os.path.exists(path):
                self._add("limit.%s.%s" % (part, key), lambda path=path: Channel(path, scale))

    def _zones(self) -> None:
        for folder in self._folders("class", "thermal", "thermal_zone*"):
            kind = text_of(os.path.join(folder, "type")) or os.path.basename(folder)
            path = os.path.join(folder, "temp")
            self._add("temperature." + kind, lambda path=path: Channel(path, 1e-3, least=COLDEST))

    def _throttles(self) -> None:
        paths = folders(self.root, "class", "thermal", "cooling_device*")
        devices = [(folder, text_of(os.path.join(folder, "type")) or "") for folder in paths]
        for folder, kind in [device for device in devices if throttles(device[1])][:MOST]:
            path = os.path.join(folder, "cur_state")
            self._add("throttle." + kind, lambda path=path: Channel(path, 1.0, least=0.0))

    def _over_current(self) -> None:
        for folder in self._folders("class", "hwmon", "hwmon*"):
            if text_of(os.path.join(folder, "name")) != "soctherm_oc":
                continue
            for path in sorted(glob.glob(os.path.join(glob.escape(folder), "oc[0-9]_event_cnt"))):
                name = "over_current." + os.path.basename(path).split("_")[0]
                self._add(name, lambda path=path: Channel(path, 1.0, least=0.0))

    def _rail(self, label: str, make: Callable[[], Any]) -> None:
        name = self._add("power." + label, make)
        if name is not None:
            self.rails.append(name)

    def _meters(self) -> None:
        for folder in self._folders("class", "hwmon", "hwmon*"):
            chip = text_of(os.path.join(folder, "name"))
            if chip == INPUT_METER and os.path.exists(os.path.join(folder, "power1_input")):
                path = os.path.join(folder, "power1_input")
                self._rail("VIN", lambda path=path: Channel(path, 1e-6, least=0.0))
            for number in METERS.get(chip or "", ()):
                volts = os.path.join(folder, "in%d_input" % number)
                amperes = os.path.join(folder, "curr%d_input" % number)
                label = text_of(os.path.join(folder, "in%d_label" % number))
                if label == "NC" or not os.path.exists(volts):
                    continue
                if label is None:
                    self.not_readable["power.%s.%d" % (os.path.basename(folder), number)] = "the rail has no label"
                    continue
                self._rail(label, lambda volts=volts, amperes=amperes: _rail_of(volts, amperes))

    def _iio(self) -> None:
        """Add the rails of JetPack 4, whose kernel has one file for each channel's power (mW)."""
        folders = list(self._folders("bus", "i2c", "drivers", "ina3221x", "*", "iio:device*"))
        for folder in folders or self._folders("bus", "iio", "devices", "iio:device*"):
            for path in sorted(glob.glob(os.path.join(glob.escape(folder), "rail_name_[0-9]"))):
                label = text_of(path)
                power = os.path.join(folder, "in_power%s_input" % path[-1])
                if label not in (None, "NC"):
                    self._rail(str(label), lambda power=power: Channel(power, 1e-3, least=0.0))


def _rail_of(volts: str, amperes: str) -> Rail:
    bus = Channel(volts, 1e-3, least=0.0)
    try:
        return Rail(bus, Channel(amperes, 1e-3))
    except OSError:
        bus.close()
        raise
