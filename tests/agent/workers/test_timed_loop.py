from __future__ import annotations

import gc
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.agent.workers import timed_loop
from hil.errors import EngineError

if TYPE_CHECKING:
    from hil.targets.engine_worker import EngineWorker

Feed = dict[str, npt.NDArray[np.float32]]


def test_warm_up_waits_until_stable() -> None:
    """Warm-up lasts at least the requested time and ends with two windows whose medians agree."""
    warm_up = timed_loop.warm_up([lambda: time.sleep(0.002)], 0.2)
    assert warm_up.stable
    assert warm_up.seconds >= 0.2
    assert warm_up.runs >= 2 * timed_loop.WINDOW_RUNS


def test_warm_up_has_a_cap() -> None:
    """A series that keeps getting slower is reported as unstable after four times the warm-up plus one second."""
    pause = [0.004]  # long compared to what a busy machine adds to a sleep

    def slower() -> None:
        pause[0] *= 1.1
        time.sleep(pause[0])

    warm_up = timed_loop.warm_up([slower], 0.1)
    assert not warm_up.stable
    assert warm_up.seconds > 1.4


def test_no_warm_up_runs_nothing() -> None:
    """A warm-up of zero seconds runs no inference."""
    assert timed_loop.warm_up([pytest.fail], 0.0).runs == 0


@pytest.mark.parametrize(
    ("window", "count"),
    [
        (timed_loop.Window(0.0, 7, 100, 60.0), 7),
        (timed_loop.Window(60.0, 1, 5, 60.0), 5),
        (timed_loop.Window(60.0, 10**9, 10**9, 0.0), 1),
    ],
)
def test_timing_stops_at_its_limits(window: timed_loop.Window, count: int) -> None:
    """Timing stops after the seconds and the minimum number of samples, at the maximum, or when the budget is spent."""
    assert len(timed_loop.measure([lambda: None], window)["start"]) == count


class Ticking:
    """A clock that advances by a second with each reading, and a control that pauses for some of them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        self.now += 1.0
        return self.now

    def pause(self, _done: int, _calls: object) -> tuple[float, float]:
        """Advance the clock by 7 s; return 5 s as the length of the pause, and 9 s until the next one."""
        self.now += 7.0
        return 5.0, 9.0


@pytest.mark.parametrize("seconds", [10.0, 11.0, 40.0])
def test_a_series_lasts_as_long_as_was_asked(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pauses, a series lasts at least the requested seconds from its first start to its last end."""
    clock = Ticking()
    monkeypatch.setattr(time, "perf_counter", clock)
    control: Any = clock
    window = timed_loop.Window(seconds, 1, 10**6, 10**6)
    timed = timed_loop.measure([lambda: None], window, (), control, 9.0)
    start, duration = np.array(timed["start"]), np.array(timed["duration"])
    gaps = start[1:] - (start + duration)[:-1]
    assert start[-1] + duration[-1] - start[0] - gaps[gaps > 2].sum() >= seconds
    bound: Any = SimpleNamespace(start=lambda: None, finish=lambda: None)
    timed = timed_loop.fly([bound, bound], 2, window)
    assert (np.array(timed["start"]) + np.array(timed["duration"])).max() - timed["start"][0] >= seconds


def test_slow_samples_stay_in_the_series() -> None:
    """Slow samples stay in the series, feeds are used in turn, and start times are monotonic seconds."""
    pauses = (0.0, 0.05)
    calls = [lambda pause=pause: time.sleep(pause) for pause in pauses]
    series = timed_loop.measure(calls, timed_loop.Window(0.0, 6, 6, 60.0))
    start, duration = np.array(series["start"]), np.array(series["duration"])
    assert (duration[1::2] >= 0.05).all()
    assert (duration[::2] < 0.05).all()
    assert (start[1:] >= start[:-1] + duration[:-1]).all()


def test_the_garbage_collector_is_off_while_timing() -> None:
    """The garbage collector is off while inferences are timed, and on again afterwards."""
    enabled = []
    timed_loop.measure([lambda: enabled.append(gc.isenabled())], timed_loop.Window(0.0, 1, 1, 1.0))
    assert enabled == [False]
    assert gc.isenabled()


def test_a_soak_reads_memory_about_200_times() -> None:
    """Memory is read about 200 times, first before any run and last after all runs."""
    table = timed_loop.soak([lambda: None], timed_loop.SoakLength(1000, None, 0, 60.0), lambda: 42)
    assert table["runs"][0] == 0
    assert table["runs"][-1] == 1000
    assert 200 <= len(table["rss"]) <= 210
    assert set(table["rss"]) == {42}


def test_a_soak_ends_with_its_budget() -> None:
    """A soak whose budget is spent ends early, with a last reading."""
    length = timed_loop.SoakLength(10**9, None, 10**9, 0.2)
    table = timed_loop.soak([lambda: time.sleep(0.01)], length, lambda: 1)
    assert 0.2 <= table["t"][-1] < 2
    assert table["runs"][-1] > 1


def test_a_soak_ends_by_time_or_number_whichever_is_first() -> None:
    """A soak ends after ``most`` inferences, or after its time and at least ``fewest`` inferences."""
    slow, quick = [lambda: time.sleep(0.002)], [lambda: None]
    assert timed_loop.soak(quick, timed_loop.SoakLength(50, 60.0, 10, 60.0), lambda: 1)["runs"][-1] == 50
    assert timed_loop.soak(slow, timed_loop.SoakLength(10**6, 0.01, 30, 60.0), lambda: 1)["runs"][-1] == 30
    assert 3 < timed_loop.soak(slow, timed_loop.SoakLength(10**6, 0.1, 3, 60.0), lambda: 1)["runs"][-1] < 60


@pytest.mark.parametrize(
    ("done", "elapsed", "over"),
    [
        (900, 19.0, False),
        (900, 20.0, False),  # 2,000 would end after 44 s
        (600, 20.0, True),  # 67 s
        (900, 27.1, True),  # it became slower: 60.2 s
        (2000, 44.0, True),
        (90, 20.0, False),
        (4000, 1.0, True),
    ],
)
def test_a_soak_goes_on_only_to_settle_the_limit(done: int, elapsed: float, over: bool) -> None:
    """After its time, a soak continues to the number of runs that decides the limit, if ``longest`` allows it."""
    length = timed_loop.SoakLength(4000, 20.0, 100, 600.0, settled=2000, longest=60.0)
    assert length.is_over(done, elapsed) == over


def test_a_slow_soak_still_has_enough_readings() -> None:
    """A soak that ends after 100 inferences of a possible million has a reading for each inference."""
    length = timed_loop.SoakLength(10**6, 0.0, 100, 60.0)
    table = timed_loop.soak([lambda: time.sleep(0.0005)], length, lambda: 1)
    assert list(table["runs"]) == list(range(101))


def test_a_timed_window_is_complete(shared_worker: EngineWorker, feed: Feed) -> None:
    """A timed window returns float64 samples, the method that comparisons require to match, and telemetry at 10 Hz."""
    timed = shared_worker.time([feed, feed], warmup=0.1, seconds=1.0, min_samples=50, max_samples=10**7)
    assert timed.start.dtype == timed.duration.dtype == np.float64
    assert timed.start.shape == timed.duration.shape
    assert timed.start.size >= 50
    assert timed.warmup_runs > 0
    assert (np.diff(timed.start) >= timed.duration[:-1]).all()
    assert timed.method["timed"] == "host-to-host"
    assert timed.method["shapes"] == {"x": [2, 4]}
    assert timed.method["batch"] == 2
    assert timed.method["threads"] == 1
    telemetry = timed.telemetry
    assert len(telemetry["t"]) == len(telemetry["rss"]) >= 10
    assert telemetry["t"][0] <= timed.start[0]
    assert abs(telemetry["t"][-1] - timed.start[-1]) < 1
    assert all(value > 1 << 20 for value in telemetry["rss"])


def test_equal_settings_have_equal_methods(shared_worker: EngineWorker, feed: Feed) -> None:
    """Two windows with equal settings have the same method, whatever their numbers of samples and runs."""
    short, long = (
        shared_worker.time([feed], warmup=0.05, seconds=seconds, min_samples=1, max_samples=10**6)
        for seconds in (0.05, 0.2)
    )
    assert short.method == long.method


def test_first_is_refused_after_a_run(worker: EngineWorker, feed: Feed) -> None:
    """``first`` measures the first run after the load and is refused after any run."""
    assert worker.first(feed) > 0
    with pytest.raises(EngineError, match="has run already"):
        worker.first(feed)
