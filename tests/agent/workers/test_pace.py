from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.agent.workers import timed_loop
from hil.errors import HilError

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.targets.engine_worker import EngineWorker

Feed = dict[str, "npt.NDArray[np.float32]"]


def test_a_stall_delays_all_releases_that_fall_into_it() -> None:
    """Releases during a stall keep their times, and the wait is part of their response."""
    pauses = iter([0.0] * 20 + [0.2] + [0.0] * 79)
    series = timed_loop.pace([lambda: time.sleep(next(pauses))], 0.01, 100, 60.0)
    release = series["first"] + np.arange(100) * 0.01
    response = np.array(series["start"]) + np.array(series["duration"]) - release
    assert len(response) == 100
    assert (response[20:40] >= 0.2 - np.arange(20) * 0.01 - 1e-6).all()  # each waits a period less than the last one


def test_no_inference_starts_before_its_release() -> None:
    """Even a fast inference waits for its release, at ``first`` plus a whole number of periods."""
    series = timed_loop.pace([lambda: None], 0.002, 50, 60.0)
    release = series["first"] + np.arange(50) * 0.002
    assert (np.array(series["start"]) >= release).all()


def test_pacing_ends_with_its_budget() -> None:
    """An engine slower than the period stops when the budget is spent, with fewer samples than releases."""
    series = timed_loop.pace([lambda: time.sleep(0.02)], 1e-4, 10**6, 0.2)
    assert 1 <= len(series["start"]) <= 20


def test_a_paced_series_has_its_release_times(shared_worker: EngineWorker, feed: Feed) -> None:
    """A paced series has its release times, and its method differs from that of a back-to-back series."""
    timed = shared_worker.pace([feed, feed], warmup=0.05, period=0.005, releases=40)
    pace = timed.telemetry["pace"]
    assert timed.start.shape == timed.duration.shape == (40,)
    assert pace["period"] == 0.005
    assert pace["releases"] == 40
    assert (timed.start >= pace["first"] + np.arange(40) * 0.005).all()
    assert timed.method["scenario"] == "paced"
    assert timed.method["period"] == 0.005
    assert "spin" in timed.method["wait"]
    assert timed.telemetry["state"] is not None


@pytest.mark.parametrize(("period", "releases"), [(0.0, 5), (-1.0, 5), (0.01, 0)])
def test_an_invalid_pace_is_refused(shared_worker: EngineWorker, feed: Feed, period: float, releases: int) -> None:
    """A period that is not positive, or zero releases, is an error."""
    with pytest.raises(HilError):
        shared_worker.pace([feed], warmup=0.0, period=period, releases=releases)
