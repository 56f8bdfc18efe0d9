"""Sampling a worker from outside while it works: its memory, and while it is timed the machine's own sensors.

A sample opens nothing: every file is opened once and read again at offset 0, so that ten a second cost
the machine well under 1 % of one core. Where the worker has a GPU and is not timed, its memory there is read more
often, since a peak between two samples is not seen.
"""

from typing import Any, Callable, Dict, List, Optional

from ..machine.board_sampler import BoardSampler
from ..machine.device_memory import Watch
from ..machine.process_memory import PAGE
from ..machine.sensors import Channel

INTERVAL = 0.1
INTERVAL_DEVICE = 0.02
MAX_KEPT = 2000
MAX_CELLS = 48000
"""Values of all columns that are kept: as JSON they are well under a frame's header (wire.MAX_HEADER)."""


class Sensor:
    """A reading that a function gives; ``None`` where there is none."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read

    def close(self) -> None:
        """Nothing is open."""


def gpu_sensors(watch: Watch) -> Dict[str, Any]:
    """SM clock (Hz), temperature (degrees Celsius), power (W) and what holds the clocks back (NVML's bits).

    Those that NVML can read; none without NVML (Orin and older). The power is that of the GPU, not of the board.
    """
    gpu = watch.device.gpu
    if gpu is None:
        return {}
    told = {"clock": gpu.clock, "temperature": gpu.temperature, "power": gpu.power, "throttle": gpu.throttle}
    return {name + ".gpu": Sensor(read) for name, read in told.items() if read() is not None}


class Sampler:
    """Samples of one worker, each ``INTERVAL``; with a ``watch`` of its memory on a GPU each ``INTERVAL_DEVICE``.

    ``slow`` keeps to ``INTERVAL`` with a watch too, for what is timed or built: asking the driver less often is a
    precaution; what it costs there was not measured. ``instruments`` reads the machine beside it, for what is timed;
    the sampler closes it.
    When ``MAX_KEPT`` are there every other one is dropped; the watch keeps the peak of all of them.
    Source of the RSS: ``/proc/PID/statm`` (pages; 3rd word: shared pages, file and segment alike).
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
        self.taken = 0
        self.keep_each = 1
        self.due = 0.0

    def take(self, now: float) -> None:
        """One sample at ``now`` (monotonic seconds, the clock that runs are timed by)."""
        # On a grid: what one sample was late the next one is not, so that ten a second stay ten.
        self.due = max(self.due + self.interval, now + self.interval / 2) if self.due else now + self.interval
        row = {"rss": self._rss.read()}
        self.highest_rss = max(self.highest_rss, row["rss"] or 0.0)
        if self.watch is not None:
            row["memory.gpu"] = self.watch.note()
        self.taken += 1
        if (self.taken - 1) % self.keep_each:
            return
        if self.instruments is not None:
            row.update(self.instruments.read(now))
            row.update((name, sensor.read()) for name, sensor in self._gpu.items())
        self._keep(now, row)

    def _keep(self, now: float, row: Dict[str, Any]) -> None:
        """Adds a row. A column that begins late, or has a gap, has None there: all are as long as ``times``."""
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
        """``{"interval": s, "taken": n, "t": […], "rss": […], "clock.policy0": […], …}`` in base units.

        A watch adds ``memory.gpu`` and, where there are instruments, the columns of ``gpu_sensors``; instruments add
        theirs, ``sources`` and ``not_readable``.
        """
        columns: Dict[str, Any] = dict(self.values)
        if self.instruments is not None:
            columns = self.instruments.report(columns)
        columns["t"] = self.times
        columns["interval"] = self.interval * self.keep_each
        columns["taken"] = self.taken
        return columns

    def close(self) -> None:
        """Closes every file, and the instruments."""
        self._rss.close()
        if self.instruments is not None:
            self.instruments.close()


def _short(value: Any) -> Any:
    """As few letters of JSON as it has digits that mean something."""
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else round(value, 6)
