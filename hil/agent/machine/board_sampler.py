"""Sample the machine while an engine is timed: sysfs sensors, and tegrastats for what sysfs lacks."""

import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ..jetson import power_rails
from ..jetson.tegrastats_process import TegrastatsProcess, find
from .sensors import Sensors

TEGRASTATS = "tegrastats"
RAIL = "power."


def is_tegra(root: str = "/sys") -> bool:
    """Return whether the device tree lists a Tegra under ``compatible``."""
    try:
        with open(os.path.join(root, "firmware", "devicetree", "base", "compatible"), "rb") as file:
            return b"nvidia,tegra" in file.read(4096)
    except OSError:
        return False


class BoardSampler:
    """Reads the machine's sensors during one timed window. ``now`` is always a time in monotonic seconds.

    It starts tegrastats if the program exists. On a Tegra without the program, ``report`` states this in
    ``not_readable``. ``root`` is sysfs, ``path`` the program (None: search for it).
    """

    def __init__(self, now: float, root: str = "/sys", path: Optional[str] = None) -> None:
        self._from_tegrastats: Set[str] = set()
        self.sensors = Sensors(root)
        self.sensors.drop_silent(("clock.", "load.", "power."))  # not "temperature.": a zone may start to read later
        path = path or find()
        self._reader = TegrastatsProcess(path, now) if path is not None or is_tegra(root) else None
        rails, missing = self._rails_of(self.sensors.channels, self.sensors.not_readable)
        self._has_power = bool(power_rails.total(rails, missing)[0])
        self._has_zones = any(name.startswith("temperature.") for name in self.sensors.channels)

    def read(self, now: float) -> Dict[str, Optional[float]]:
        """Return the values now, in base units, by column.

        A sensor of sysfs that gives no reading at this moment is None; a value that tegrastats does not print, or
        printed too long ago, is left out.
        """
        row: Dict[str, Optional[float]] = {name: channel.read() for name, channel in self.sensors.channels.items()}
        if self._reader is not None:
            additional = self._missing_in_sysfs(self._reader.latest(now))
            self._from_tegrastats.update(additional)
            row.update(additional)
        return row

    def _missing_in_sysfs(self, line: Mapping[str, Any]) -> Dict[str, float]:
        """Return the columns of a line of tegrastats that sysfs does not provide."""
        row = {}
        for column, name in (("gpu", "GR3D"), ("emc", "EMC")):
            engine = line.get("engines", {}).get(name, {})
            clocks = [hz for hz in engine.get("hz", ()) if hz]  # 0 stands for a clock that is not shown
            if engine.get("load") is not None:
                row["load." + column] = engine["load"]
            if clocks:
                row["clock." + column] = max(clocks)
        if not self._has_power:
            row.update({"power." + rail: watts for rail, watts in line.get("power", {}).items() if rail != "NC"})
        if not self._has_zones:
            zones = line.get("temperature", {})
            row.update({"temperature." + zone: degrees for zone, degrees in zones.items() if degrees is not None})
        return {name: value for name, value in row.items() if name not in self.sensors.channels}

    def report(self, columns: Dict[str, Sequence[Optional[float]]]) -> Dict[str, Any]:
        """Return ``columns`` with ``power.total`` if it is known, ``sources``, and ``not_readable`` with reasons.

        ``columns`` are the values of ``read``, by column. A sysfs column without any reading is moved to
        ``not_readable``. ``sources`` names tegrastats for each column that it provides, and the rails for
        ``power.total``.
        """
        not_readable = dict(self.sensors.not_readable)
        readable: Dict[str, Any] = {}
        for name, column in columns.items():
            if name in self.sensors.channels and all(value is None for value in column):
                not_readable[name] = "gave no reading"
            else:
                readable[name] = column
        sources = dict.fromkeys(self._from_tegrastats & set(readable), TEGRASTATS)
        not_readable = {name: why for name, why in not_readable.items() if name not in sources}
        rails, missing = self._rails_of(readable, not_readable)
        power_rails.add_total(readable, rails, missing, not_readable, sources)
        if self._reader is not None and self._reader.why is not None:
            not_readable[TEGRASTATS] = self._reader.why
        return dict(readable, sources=sources, not_readable=not_readable)

    def _rails_of(self, names: Iterable[str], not_readable: Mapping[str, str]) -> Tuple[List[str], Dict[str, str]]:
        """Return the rails among the columns ``names``, and the reason for each rail that cannot be read, by rail.

        The power of a discrete GPU, which NVML reports, is not a rail.
        """
        rails = [name[len(RAIL) :] for name in names if name in self.sensors.rails or self._is_tegrastats_rail(name)]
        missing = {name[len(RAIL) :]: why for name, why in not_readable.items() if name.startswith(RAIL)}
        return rails, missing

    def _is_tegrastats_rail(self, name: str) -> bool:
        return name.startswith(RAIL) and name in self._from_tegrastats

    def close(self) -> None:
        """Close every file and stop tegrastats."""
        self.sensors.close()
        if self._reader is not None:
            self._reader.close()
