"""Sample a worker from outside while it works: its memory and, while it is timed, the machine's sensors."""

from typing import Any, Callable, Dict, List, Optional

from ..machine.board_sampler import BoardSampler
from ..machine.device_memory import Watch
from ..machine.process_memory import PAGE
from ..machine.sensors import Channel

INTERVAL = 0.1  # seconds
INTERVAL_DEVICE = 0.02
MAX_KEPT = 2000
MAX_CELLS = 48000
"""Maximum number of values in all columns: as JSON they stay well under a frame's limit, ``wire.MAX_HEADER``."""


class Sensor:
    """A sensor with the interface of ``Channel``; the function ``read`` returns None if there is no value."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read

    def close(self) -> None:
        """Do nothing: no file is open."""


def gpu_sensors(watch: Watch) -> Dict[str, Any]:
    """Return NVML's sensors of the GPU: SM clock (Hz), temperature (°C), power (W) and throttle reasons (NVML's bits).

    Unreadable sensors are left out; without NVML the result is empty. The power is the GPU's, not the board's.
    """
    gpu = watch.device.gpu
    if gpu is None:
        return {}
    readers = {"clock": gpu.clock, "temperature": gpu.temperature, "power": gpu.power, "throttle": gpu.throttle}
    return {name + ".gpu": Sensor(read) for name, read in readers.items() if read() is not None}


class Sampler:
    """Samples of one worker's memory, and of the machine's sensors during a timed series.

    The caller calls ``take`` when ``due`` is reached. With ``MAX_KEPT`` samples or ``MAX_CELLS`` values, every other
    sample is dropped, and later ones are stored half as often.

    Args:
        watch: reads the worker's GPU memory; with it, samples are ``INTERVAL_DEVICE`` seconds apart, else ``INTERVAL``.
        slow: keeps the samples ``INTERVAL`` seconds apart, also with ``watch``.
        instruments: read the machine's sensors; closed by ``close``.
    """

    def __init__(
        self,
        pid: int,
        watch: Optional[Watch] = None,
        *,
        slow: bool = False,
        instruments: Optional[BoardSampler] = None,
    ) -> None:
        self.watch = watch
        self.instruments = instruments
        self.interval = INTERVAL if watch is None or slow else INTERVAL_DEVICE
        try:
            self._rss = Channel("/proc/%d/statm" % pid, PAGE, 1)
        except OSError:
            if instruments is not None:
                instruments.close()
            raise
        self._gpu = gpu_sensors(watch) if watch is not None and instruments is not None else {}
        self.times: List[float] = []
        self.values: Dict[str, List[Any]] = {"rss": []}
        if watch is not None:
            self.values["memory.gpu"] = []
        self.highest_rss = 0.0
        self.count = 0
        self.keep_each = 1
        self.due = 0.0

    def take(self, now: float) -> None:
        """Take one sample at ``now`` (monotonic seconds, the clock by which runs are timed)."""
        # Due times stay on a grid: a late sample does not delay the next one, so the mean rate is kept.
        self.due = max(self.due + self.interval, now + self.interval / 2) if self.due else now + self.interval
        row = {"rss": self._rss.read()}
        self.highest_rss = max(self.highest_rss, row["rss"] or 0.0)
        if self.watch is not None:
            row["memory.gpu"] = self.watch.note()
        self.count += 1
        if (self.count - 1) % self.keep_each:
            return
        if self.instruments is not None:
            row.update(self.instruments.read(now))
            row.update((name, sensor.read()) for name, sensor in self._gpu.items())
        self._keep(now, row)

    def _keep(self, now: float, row: Dict[str, Any]) -> None:
        """Store a sample: ``row`` has its values by column. In a column without a value, store None."""
        for name in row:
            if name not in self.values:
                self.values[name] = [None] * len(self.times)
        for name, column in self.values.items():
            column.append(_short(row.get(name)))
        self.times.append(round(now, 4))
        if len(self.times) >= min(MAX_KEPT, MAX_CELLS // len(self.values)):
            self.keep_each *= 2
            self.times = self.times[::2]
            self.values = {name: column[::2] for name, column in self.values.items()}

    def report(self) -> Dict[str, Any]:
        """Return ``{"interval": s, "taken": n, "t": […], "rss": […], "clock.policy0": […], …}`` in base units.

        ``taken`` also counts dropped samples. ``watch`` adds ``memory.gpu``. ``instruments`` add their columns,
        ``sources`` and ``not_readable``, and with ``watch`` the columns of ``gpu_sensors``.
        """
        columns: Dict[str, Any] = dict(self.values)
        if self.instruments is not None:
            columns = self.instruments.report(columns)
        columns["t"] = self.times
        columns["interval"] = self.interval * self.keep_each
        columns["taken"] = self.count
        return columns

    def close(self) -> None:
        """Close the files that are sampled, and ``instruments``."""
        self._rss.close()
        if self.instruments is not None:
            self.instruments.close()


def _short(value: Any) -> Any:
    """Return a float rounded to 6 decimals, or as an int if it is whole; return any other value unchanged.

    This shortens the JSON.
    """
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else round(value, 6)
