from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest

from hil.series import Series
from hil.session.sampling.series_files import Samples
from hil.stats.control import ControlSeries

if TYPE_CHECKING:
    from pathlib import Path

NAME = "toy-fp32-saturated"


def series(first: float = 0.25) -> Series:
    """Return three samples, distinguished by the first."""
    duration = np.array([first, 0.5, 1e-9])
    return Series(np.cumsum(duration), duration, 2, {"timed": "host-to-host"}, {"looks": 1})


def refuse() -> NoReturn:
    """Fail the test: the series must not be measured again."""
    pytest.fail("timed again")


def same(one: Series, other: Series) -> bool:
    """Return whether two series are equal bit for bit, with method and facts."""
    facts = [(each.batch, each.method, each.facts, each.device is None) for each in (one, other)]
    bits = [
        each.start.tobytes() + each.duration.tobytes() + (b"" if each.device is None else each.device.tobytes())
        for each in (one, other)
    ]
    return facts[0] == facts[1] and bits[0] == bits[1]


def test_another_process_of_the_run_reads_the_file(tmp_path: Path) -> None:
    """A second process reads the series from the file bit for bit instead of measuring again."""
    measured = Samples(tmp_path / "samples", "run").once(NAME, series)
    read = Samples(tmp_path / "samples", "run").once(NAME, refuse)
    assert same(measured, read)
    assert same(read, series())


def test_device_times_are_in_the_file(tmp_path: Path) -> None:
    """A process that reads the series has the same device times as the one that measured it."""
    timed = replace(series(), device=np.array([0.1, 0.2, 1e-10]))
    Samples(tmp_path, "run").once(NAME, lambda: timed)
    assert same(Samples(tmp_path, "run").once(NAME, refuse), timed)


def test_the_control_is_in_the_file(tmp_path: Path) -> None:
    """A process that reads a series also reads the control that was timed beside it, if there was one."""
    beside = ControlSeries("net v1", np.array([1.0, 1.1, 2.0]), np.array([0.01, 0.02, 1e-9]), (2, 1), 0.25)
    Samples(tmp_path, "run").once(NAME, lambda: replace(series(), control=beside))
    read = Samples(tmp_path, "run").once(NAME, refuse).control
    assert read is not None
    assert (read.workload, read.sizes, read.seconds) == ("net v1", (2, 1), 0.25)
    assert read.start.tolist() == beside.start.tolist()
    assert read.duration.tolist() == beside.duration.tolist()
    Samples(tmp_path, "run").once("other", series)
    assert Samples(tmp_path, "run").once("other", refuse).control is None


def test_a_series_of_an_earlier_run_is_measured_again(tmp_path: Path) -> None:
    """Series that an earlier run left in the report folder are not used."""
    Samples(tmp_path, "yesterday").once(NAME, series)
    assert Samples(tmp_path, "today").once(NAME, lambda: series(0.75)).duration[0] == 0.75


@pytest.mark.parametrize("keep", [0, 1, 20, 100, -1])
def test_a_damaged_file_is_measured_again(tmp_path: Path, keep: int) -> None:
    """A file that was cut short anywhere is not read as a series."""
    samples = Samples(tmp_path, "run")
    samples.once(NAME, series)
    path = tmp_path / f"{NAME}.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert samples.once(NAME, lambda: series(0.75)).duration[0] == 0.75


def test_a_series_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """An error while measuring leaves no file and releases the lock."""
    samples = Samples(tmp_path, "run")
    with pytest.raises(ZeroDivisionError):
        samples.once(NAME, lambda: series(1 // 0))
    assert not list(tmp_path.glob("*.npz"))
    assert same(samples.once(NAME, series), series())


def test_the_file_is_named_relative_to_the_report(tmp_path: Path) -> None:
    """A result names the file relative to the report, so that the folder can be moved."""
    samples = Samples(tmp_path / "report" / "samples", "run")
    samples.once(NAME, series)
    assert (tmp_path / "report" / samples.file(NAME)).is_file()


def measure(folder: Path, log: Path) -> None:
    """Read or measure the series in one process of the run, and log the process that measured."""

    def timed() -> Series:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return series()

    assert same(Samples(folder, "run").once(NAME, timed), series())


def test_only_one_of_two_processes_measures(tmp_path: Path) -> None:
    """A process that comes while a series is measured waits for it and reads it."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=measure, args=(tmp_path / "samples", tmp_path / "log")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 2
    assert len((tmp_path / "log").read_text().splitlines()) == 1
