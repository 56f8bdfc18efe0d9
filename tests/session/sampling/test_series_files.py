from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest

from hil.series import Series
from hil.session.sampling.series_files import Samples

if TYPE_CHECKING:
    from pathlib import Path

NAME = "toy-fp32-saturated"


def series(first: float = 0.25) -> Series:
    """Return three samples, distinguished by the first."""
    duration = np.array([first, 0.5, 1e-9])
    return Series(np.cumsum(duration), duration, 2, {"timed": "host-to-host"}, {"looks": 1})


def refuse() -> NoReturn:
    """Must not be asked."""
    pytest.fail("timed again")


def same(one: Series, other: Series) -> bool:
    """A series is read back bit for bit, with its method and facts."""
    told = [(each.batch, each.method, each.facts, each.device is None) for each in (one, other)]
    bits = [
        each.start.tobytes() + each.duration.tobytes() + (b"" if each.device is None else each.device.tobytes())
        for each in (one, other)
    ]
    return told[0] == told[1] and bits[0] == bits[1]


def test_another_process_of_the_run_reads_what_one_took(tmp_path: Path) -> None:
    """Nothing is timed twice, and nothing is lost on the way through the file."""
    taken = Samples(tmp_path / "samples", "run").once(NAME, series)
    read = Samples(tmp_path / "samples", "run").once(NAME, refuse)
    assert same(taken, read)
    assert same(read, series())


def test_the_devices_clock_goes_through_the_file(tmp_path: Path) -> None:
    """A process that reads the series judges by the same columns as the one that took it."""
    timed = replace(series(), device=np.array([0.1, 0.2, 1e-10]))
    Samples(tmp_path, "run").once(NAME, lambda: timed)
    assert same(Samples(tmp_path, "run").once(NAME, refuse), timed)


def test_an_earlier_runs_series_is_taken_anew(tmp_path: Path) -> None:
    """A report folder that is used again lends nothing to the new run."""
    Samples(tmp_path, "yesterday").once(NAME, series)
    assert Samples(tmp_path, "today").once(NAME, lambda: series(0.75)).duration[0] == 0.75


@pytest.mark.parametrize("keep", [0, 1, 20, 100, -1])
def test_a_damaged_file_is_taken_anew(tmp_path: Path, keep: int) -> None:
    """Whatever is left of a file that was cut short, it stands for no series."""
    samples = Samples(tmp_path, "run")
    samples.once(NAME, series)
    path = tmp_path / f"{NAME}.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert samples.once(NAME, lambda: series(0.75)).duration[0] == 0.75


def test_a_series_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """The lock is free again and no file claims to hold what was never taken."""
    samples = Samples(tmp_path, "run")
    with pytest.raises(ZeroDivisionError):
        samples.once(NAME, lambda: series(1 // 0))
    assert not list(tmp_path.glob("*.npz"))
    assert same(samples.once(NAME, series), series())


def test_the_file_is_named_relative_to_the_report(tmp_path: Path) -> None:
    """What a result points at can be moved with the report's folder."""
    samples = Samples(tmp_path / "report" / "samples", "run")
    samples.once(NAME, series)
    assert (tmp_path / "report" / samples.file(NAME)).is_file()


def take(folder: Path, log: Path) -> None:
    """One process of the run; notes that it was the one to time."""

    def timed() -> Series:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return series()

    assert same(Samples(folder, "run").once(NAME, timed), series())


def test_of_several_processes_one_takes_it(tmp_path: Path) -> None:
    """Those that come while it is taken wait for it and read it."""
    context = multiprocessing.get_context("spawn")
    crew = [context.Process(target=take, args=(tmp_path / "samples", tmp_path / "log")) for _ in range(4)]
    for process in crew:
        process.start()
    for process in crew:
        process.join(60)
    assert [process.exitcode for process in crew] == [0] * 4
    assert len((tmp_path / "log").read_text().splitlines()) == 1
