"""Store raw series as files of the report. Each is measured once in a run, by the first process that needs it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.files.digests import writing
from hil.series import Series
from hil.stats.control import ControlSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def read(path: Path, run_id: str, attempt: str | None = None) -> Series | None:
    """Return the series that run ``run_id`` wrote to ``path``; ``None`` if there is no complete file of that run.

    With ``attempt``, the series must be of this attempt of the run.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about["run"] != run_id or attempt not in (None, about.get("attempt", "")):
                return None
            device = arrays["device"] if "device" in arrays.files else None
            facts = about["batch"], about["method"], about["facts"]
            return Series(arrays["start"], arrays["duration"], *facts, device, _control(arrays))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # a truncated file of an earlier run: this run replaces its files atomically


def _control(arrays: Mapping[str, Any]) -> ControlSeries | None:
    """Return the control of a series' file, whose columns begin with ``control_``; ``None`` without one."""
    if "control" not in arrays:
        return None
    workload, seconds = json.loads(str(arrays["control"]))
    sizes = tuple(int(size) for size in arrays["control_sizes"])
    return ControlSeries(workload, arrays["control_start"], arrays["control_duration"], sizes, float(seconds))


class Samples:
    """The series of one run, each in a file ``samples/NAME.npz`` of the report.

    A file has the start, duration and, if measured, device time of each sample (s), the batch size, the method and the
    facts. If a control was timed, it also has ``control`` (workload and seconds spent), ``control_start`` and
    ``control_duration`` (s), and ``control_sizes`` (inferences in each window).
    """

    def __init__(self, folder: Path, run_id: str, attempt: str = "") -> None:
        """Store the arguments. Only series of ``attempt``, the request's attempt, are used again."""
        self._folder = folder
        self._run_id = run_id
        self._attempt = attempt

    def once(self, name: str, take: Callable[[], Series]) -> Series:
        """Return this run's series ``name`` from its file. Without a file, call ``take``, and store what it returns."""
        with writing(self._folder), self._alone(name):
            series = self._read(name)
            if series is None:
                series = take()
                self._write(name, series)
            return series

    def file(self, name: str) -> str:
        """Return the series' file, relative to the report's folder."""
        return f"{self._folder.name}/{name}.npz"

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        handle = os.open(self._folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self, name: str) -> Series | None:
        return read(self._folder / f"{name}.npz", self._run_id, self._attempt)

    def _write(self, name: str, series: Series) -> None:
        about: dict[str, Any] = {"run": self._run_id, "attempt": self._attempt}
        about |= {"batch": series.batch, "method": series.method, "facts": series.facts}
        temporary = self._folder / f".{name}.{os.getpid()}.npz"
        columns: dict[str, Any] = {"start": series.start, "duration": series.duration}
        if series.device is not None:
            columns["device"] = series.device
        if series.control is not None:
            beside = series.control
            columns["control"] = np.array(json.dumps([beside.workload, beside.seconds], allow_nan=False))
            columns |= {"control_start": beside.start, "control_duration": beside.duration}
            columns["control_sizes"] = np.array(beside.sizes, dtype=np.int64)
        np.savez_compressed(temporary, about=np.array(json.dumps(about, allow_nan=False)), **columns)
        temporary.replace(self._folder / f"{name}.npz")
