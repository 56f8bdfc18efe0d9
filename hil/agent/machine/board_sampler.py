"""All that is read of the machine while engines are timed: its sensors, and tegrastats for what they do not tell."""

import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ..jetson import power_rails
from ..jetson.tegrastats_process import TegrastatsProcess, find
from .sensors import Sensors

TEGRASTATS = "tegrastats"
RAIL = "power."


def is_tegra(root: str = "/sys") -> bool:
    """Whether the device tree names a Tegra among what the machine is compatible with."""
    try:
        with open(os.path.join(root, "firmware", "devicetree", "base", "compatible"), "rb") as file:
            return b"nvidia,tegra" in file.read(4096)
    except OSError:
        return False


class BoardSampler:
    """Opened for the time of one timed window; ``now`` is monotonic seconds throughout.

    tegrastats runs only on a Tegra, or where it is found: it costs the board some work of its own.
    """

    def __init__(self, now: float, root: str = "/sys", path: Optional[str] = None) -> None:
        self._told: Set[str] = set()
        self.sensors = Sensors(root)
        self.sensors.drop_silent(("clock.", "load.", "power."))  # a thermal zone may come on with its part
        path = path or find()
        self._reader = TegrastatsProcess(path, now) if path is not None or is_tegra(root) else None
        rails, missing = self._rails_of(self.sensors.channels, self.sensors.not_readable)
        self._has_power = bool(power_rails.total(rails, missing)[0])
        self._has_zones = any(name.startswith("temperature.") for name in self.sensors.channels)

    def read(self, now: float) -> Dict[str, Optional[float]]:
        """Each column's value now, in base units; None where it cannot be read at this moment."""
        row: Dict[str, Optional[float]] = {name: channel.read() for name, channel in self.sensors.channels.items()}
        if self._reader is not None:
            beside = self._beside(self._reader.latest(now))
            self._told.update(beside)
            row.update(beside)
        return row

    def _beside(self, line: Mapping[str, Any]) -> Dict[str, float]:
        """What a line of tegrastats tells that sysfs does not."""
        found = {}
        for column, name in (("gpu", "GR3D"), ("emc", "EMC")):
            told = line.get("engines", {}).get(name, {})
            clocks = [hz for hz in told.get("hz", ()) if hz]  # 0 is one that is not shown
            if told.get("load") is not None:
                found["load." + column] = told["load"]
            if clocks:
                found["clock." + column] = max(clocks)
        if not self._has_power:
            found.update({"power." + rail: watts for rail, watts in line.get("power", {}).items() if rail != "NC"})
        if not self._has_zones:
            known = line.get("temperature", {})
            found.update({"temperature." + zone: degrees for zone, degrees in known.items() if degrees is not None})
        return {name: value for name, value in found.items() if name not in self.sensors.channels}

    def report(self, columns: Dict[str, Sequence[Optional[float]]]) -> Dict[str, Any]:
        """``columns`` with ``power.total`` where it is known, ``sources``, and ``not_readable`` with each reason.

        A column of which nothing was read is taken out. ``sources`` says which columns are not sysfs's own.
        """
        not_readable = dict(self.sensors.not_readable)
        told: Dict[str, Any] = {}
        for name, column in columns.items():
            if name in self.sensors.channels and all(value is None for value in column):
                not_readable[name] = "gave no reading"
            else:
                told[name] = column
        sources = dict.fromkeys(self._told & set(told), TEGRASTATS)
        not_readable = {name: why for name, why in not_readable.items() if name not in sources}
        rails, missing = self._rails_of(told, not_readable)
        power_rails.add_total(told, rails, missing, not_readable, sources)
        if self._reader is not None and self._reader.why is not None:
            not_readable[TEGRASTATS] = self._reader.why
        return dict(told, sources=sources, not_readable=not_readable)

    def _rails_of(self, names: Iterable[str], not_readable: Mapping[str, str]) -> Tuple[List[str], Dict[str, str]]:
        """The rails among the columns ``names``, and why each that is there is not; a GPU's own meter is no rail."""
        rails = [name[len(RAIL) :] for name in names if name in self.sensors.rails or self._is_told_rail(name)]
        missing = {name[len(RAIL) :]: why for name, why in not_readable.items() if name.startswith(RAIL)}
        return rails, missing

    def _is_told_rail(self, name: str) -> bool:
        return name.startswith(RAIL) and name in self._told

    def close(self) -> None:
        """Closes every file and ends tegrastats."""
        self.sensors.close()
        if self._reader is not None:
            self._reader.close()
