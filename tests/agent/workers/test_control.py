from __future__ import annotations

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.failure import ENGINE, Failure
from hil.agent.workers import timed_loop
from hil.agent.workers.control import Control, LoadedControl
from hil.session.engines.control_network import ON_CPU, network
from hil.targets.control import SHARE, ControlOrder

if TYPE_CHECKING:
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker


class Clock:
    """A simulated clock."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        """Return the time; reading it takes 0.1 µs."""
        self.now += 1e-7
        return self.now

    def work(self, seconds: float) -> None:
        """Work for ``seconds``."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the agent reads."""
    simulated = Clock()
    monkeypatch.setattr(time, "perf_counter", simulated.read)
    return simulated


def timed(made: Control, seconds: float, calls: list[Any], warmup: float = 0.05) -> dict[str, Any]:
    """Return a series of ``seconds`` with the control ``made``, as the worker times it."""
    made.before()
    warm = timed_loop.warm_up(calls, warmup)
    window = timed_loop.Window(seconds, 1, 10**6, 60.0)
    series = timed_loop.measure(calls, window, (), made, made.plan(warm.each, seconds))
    made.after()
    return series


def test_the_control_runs_in_no_timed_inference(clock: Clock) -> None:
    """No inference of the control's workload overlaps a timed inference of the engine."""
    made = Control(lambda: clock.work(0.0005), SHARE, 2.05)
    series = timed(made, 2.0, [lambda: clock.work(0.002)])
    own = [(begin, begin + took) for begin, took in zip(series["start"], series["duration"], strict=True)]
    for begin, took in zip(made.start, made.duration, strict=True):
        assert not any(first < begin + took and begin < last for first, last in own)
    assert sum(made.sizes) == len(made.start) == len(made.duration)
    assert made.cuts == sorted(set(made.cuts))


def test_windows_are_before_between_and_after(clock: Clock) -> None:
    """The control has a window before the series, one after it, and others between the series' inferences."""
    made = Control(lambda: clock.work(0.0005), SHARE, 4.5)
    series = timed(made, 4.0, [lambda: clock.work(0.002)], 0.5)
    begin, end = series["start"][0], series["start"][-1]
    windows = [made.start[sum(made.sizes[:at])] for at in range(len(made.sizes))]
    assert windows[0] < begin
    assert windows[-1] > end
    assert len(made.cuts) >= 6
    assert sum(begin < at < end for at in windows) == len(made.cuts)
    assert sum(series["duration"]) >= 3.9  # the pauses are not part of its seconds


def test_the_share_is_kept(clock: Clock) -> None:
    """The control takes at most 5 % of the time, or reports why it has no windows, whatever series and workload."""
    for each, workload, seconds in itertools.product((1e-3, 0.05), (1e-4, 5e-4, 0.01, 0.1), (0.05, 0.2, 1.0, 4.5)):
        made = Control(partial(clock.work, workload), SHARE, seconds)
        began, warmup = clock.now, min(0.5, seconds / 2)
        timed(made, seconds - warmup, [partial(clock.work, each)], warmup)
        if made.why_not:  # finding out how long the workload takes needs four runs of it
            assert made.spent <= 4.1 * workload
            assert "too short" in made.why_not or "too long" in made.why_not
        else:
            assert made.spent <= 0.05 * (clock.now - began), (each, workload, seconds, made.sizes)


def test_a_slow_workload_is_no_control(clock: Clock) -> None:
    """If the workload is too slow, or the series too short, the control has no windows and reports the reason."""
    slow = Control(lambda: clock.work(0.05), SHARE, 1.0)
    slow.before()
    slow.after()
    assert "takes 0.05 s, too long" in slow.report()["why_not"]
    assert not slow.sizes
    short = Control(pytest.fail, SHARE, 0.05)
    short.before()
    short.after()
    assert short.report()["why_not"] == "the series is too short for a control"


def test_a_failing_workload_ends_the_control_only(clock: Clock) -> None:
    """An error of the control's workload is reported, and the series is timed to its end."""
    for good in (0, 5, 100, 400):
        runs = [0]

        def run(good: int = good, runs: list[int] = runs) -> None:
            runs[0] += 1
            if runs[0] > good:
                raise Failure(ENGINE, "the device is lost")

        made = Control(run, 0.5, 1.0)
        series = timed(made, 0.3, [lambda: clock.work(0.001)])
        assert made.report()["why_not"] == "the control failed: the device is lost"
        assert sum(series["duration"]) >= 0.25


def test_an_engine_that_cannot_be_loaded_is_a_reason(tmp_path: Any) -> None:
    """A control whose engine is missing, or whose runtime is unknown, raises nothing and reports the reason."""
    loaded = LoadedControl()
    assert loaded.of(None, 10.0) is None
    order = {"runtime": "onnxruntime", "path": str(tmp_path / "none.onnx"), "options": {}, "share": SHARE}
    for bad in (order, {**order, "runtime": "other"}, {"why_not": "engine was not built"}, {}):
        made = loaded.of(bad, 10.0)
        assert made is not None
        made.before()
        assert made.why_not
        assert not made.sizes


def test_without_a_known_time_there_is_no_pause(clock: Clock) -> None:
    """Without a warm-up, the control plans no pause within the series."""
    made = Control(lambda: clock.work(0.0005), SHARE, 4.0)
    made.before()
    assert made.plan(0.0, 4.0) == float("inf")


@pytest.fixture(scope="module")
def order(shared_agent: AgentClient, tmp_path_factory: pytest.TempPathFactory) -> ControlOrder:
    """The control's engine in the store of the agent."""
    path = tmp_path_factory.mktemp("control") / "control.onnx"
    path.write_bytes(network(ON_CPU))
    return ControlOrder(
        "net v1", shared_agent.build(shared_agent.put_blob(path), "fp32", "onnxruntime", {}, 60).key, {}
    )


def test_a_worker_times_the_control_beside_its_engine(shared_worker: EngineWorker, order: ControlOrder) -> None:
    """A worker times the control in pauses of a series, before and after a paced series, and alone."""
    feeds = [{"x": np.zeros((1, 4), dtype=np.float32)}]
    window: dict[str, Any] = {"min_samples": 1, "max_samples": 10**6, "control": order}
    series = shared_worker.time(feeds, warmup=0.1, seconds=2.0, **window)
    paced = shared_worker.pace(feeds, warmup=0.1, period=0.02, releases=60, control=order)
    for timed in (series, paced):
        # Where other processes interrupt every inference, the share of so short a series may not suffice.
        assert (timed.control is None) == ("too long" in timed.telemetry["control"].get("why_not", ""))
        assert timed.method["control"] == {"workload": "net v1", "share": SHARE}
    assert sum(series.telemetry.get("segments", [series.start.size])) == series.start.size
    assert "segments" not in paced.telemetry
    alone = shared_worker.control(order, 100.0)
    assert alone is not None
    assert alone.is_usable
    assert alone.workload == "net v1"
    assert len(alone.sizes) >= 2


def test_a_lost_control_does_not_fail_a_series(shared_worker: EngineWorker) -> None:
    """If the store no longer has the control's engine, the series is timed without it, with the reason."""
    feeds = [{"x": np.zeros((1, 4), dtype=np.float32)}]
    gone = ControlOrder("net v1", "0" * 64, {})
    timed = shared_worker.time(feeds, warmup=0.0, seconds=0.2, min_samples=1, max_samples=100, control=gone)
    assert timed.start.size
    assert timed.control is None
    assert "was not built by this store" in timed.telemetry["control"]["why_not"]
