"""Runs of an engine in fresh processes, by a real agent."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.config.load import load
from hil.plan import expand
from hil.series import Series, digest_of
from hil.session import Request, Session
from hil.session.sampling import replicates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.results import Row
    from hil.targets.engine_worker import EngineWorker
    from tests.session.conftest import MakesRequests

METHOD = {"timed": "host-to-host", "streams": 1}


def timed_series(n: int = 1000, level: float = 0.002, **method: object) -> Series:
    """Return a run of ``n`` inferences back to back."""
    return Series(np.arange(n) * np.float64(level), np.full(n, level), 1, {**METHOD, **method})


def quick(request: Request, runs: int) -> Request:
    """Return the request with short runs, timed long enough for a frame rate."""
    path = request.config.path
    text = path.read_text().replace('duration = "0.5 s"', 'duration = "1.1 s"')
    path.write_text(text.replace("[measure]", '[measure]\nrun_duration = "200 ms"'))
    return replace(request, config=load(path), runs=runs)


def row(request: Request, check_id: str) -> Row:
    """Return the planned row of one check."""
    return expand(request.config, request.target).of(check_id)[0]


def test_one_unusable_run_leaves_no_values() -> None:
    """If one run is too short, broken or measured by another method, there are no run values.

    A control does not change the method.
    """
    good = [timed_series(), timed_series(level=0.0021)]
    method = {**METHOD, "control": {"workload": "net v1"}}
    assert replicates.values("latency.p50", good, method)[0] == (0.002, 0.0021)
    for odd in (
        timed_series(streams=2),
        timed_series(n=50),
        Series(np.zeros(500), np.full(500, np.nan), 1, METHOD),
        timed_series(n=0),
    ):
        values, why_not = replicates.values("latency.p99", [*good, odd], method)
        assert values == ()
        assert "run 3" in why_not


def test_a_runs_value_is_that_of_its_check() -> None:
    """A run gives seconds for a percentile, frames a second for a rate, and nothing for memory."""
    duration = np.linspace(0.001, 0.002, 1001)
    series = Series(np.concatenate([[0.0], np.cumsum(duration)[:-1]]), duration, 4, METHOD)
    assert replicates.value("latency.p50", series) == pytest.approx(0.0015)
    assert replicates.value("latency.p90", series) == pytest.approx(0.0019)
    assert replicates.value("fps.sustained", series) == pytest.approx(4 / 0.0015, rel=1e-3)
    assert replicates.value("memory.peak", series) is None


def test_a_percentile_needs_samples_beyond_it() -> None:
    """99 samples give no 99th percentile, 100 do."""
    assert replicates.value("latency.p99", timed_series(99)) is None
    assert replicates.value("latency.p99", timed_series(100)) == 0.002
    assert replicates.value("latency.p90", timed_series(9)) is None
    assert replicates.value("latency.p90", timed_series(10)) == 0.002


def test_runs_are_fresh_processes_measured_once(make_request: MakesRequests, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has a new worker and the method of the row's series; other rows read the files of these runs."""
    request = quick(make_request(), runs=3)
    pids: list[int] = []
    with closing(Session.open(request)) as session:
        fresh = session.engines.fresh

        @contextmanager
        def recording_pids(model: str, precision: str) -> Iterator[EngineWorker]:
            with fresh(model, precision) as worker:
                pids.append(worker.pid)
                yield worker

        monkeypatch.setattr(session.engines, "fresh", recording_pids)
        p99 = session.judge(row(request, "latency.p99")).result
        rate = session.judge(row(request, "fps.sustained")).result
        again = replicates.measure_runs(session, "toy", "fp32", 3)
    assert p99.measurement is not None
    assert rate.measurement is not None
    assert len(p99.measurement.runs) == len(rate.measurement.runs) == 3, (p99.details, rate.details)
    assert len(set(pids)) == 3
    expected = [float(np.quantile(series.duration, 0.99, method="inverted_cdf")) for series in again]
    assert list(p99.measurement.runs) == expected
    assert all(digest_of(series.method) == p99.measurement.method for series in again)
    files = sorted(path.name for path in (request.report_dir / "samples").glob("toy-fp32-run-*.npz"))
    assert files == [f"toy-fp32-run-{number}.npz" for number in (1, 2, 3)]


def test_the_runs_of_all_precisions_are_spread_once(make_request: MakesRequests) -> None:
    """The runs of a model's precisions share one wait: none of them waits again."""
    messages: list[str] = []
    request = make_request()
    path = request.config.path
    text = path.read_text().replace('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    path.write_text(f'{text}\n[models.toy.calibration]\ndata = "validation.npz"\n')
    request = replace(quick(request, runs=2), over=8.0, progress=messages.append)
    rows = expand(request.config, request.target).of("latency.p99")
    with closing(Session.open(request)) as session:
        session.engines.plan((one.model, one.precision) for one in rows)
        results = [session.judge(one).result for one in rows]
    assert [len(one.measurement.runs) for one in results if one.measurement] == [2, 2]
    assert sum("waiting before run" in message for message in messages) == 1, messages


def test_without_runs_only_the_series_is_timed(make_request: MakesRequests) -> None:
    """Without ``--hil-runs`` a measurement has no run values and no run files."""
    request = make_request()
    with closing(Session.open(request)) as session:
        result = session.judge(row(request, "latency.p99")).result
    assert result.measurement is not None
    assert result.measurement.runs == ()
    assert not list((request.report_dir / "samples").glob("*-run-*"))


def test_cold_starts_are_runs(make_request: MakesRequests) -> None:
    """Each cold start counts as one run, and the row's value is the largest of them."""
    request = quick(make_request(), runs=4)
    with closing(Session.open(request)) as session:
        result = session.judge(row(request, "latency.cold_load")).result
    assert result.measurement is not None
    assert len(result.measurement.runs) == 4
    assert result.measurement.value == max(result.measurement.runs)
