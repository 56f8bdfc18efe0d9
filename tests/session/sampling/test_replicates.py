"""Runs of an engine in fresh processes, through a real agent."""

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
    from tests.session.conftest import Asks

METHOD = {"timed": "host-to-host", "streams": 1}


def timed_series(n: int = 1000, level: float = 0.002, **method: object) -> Series:
    """A run of ``n`` inferences back to back."""
    return Series(np.arange(n) * np.float64(level), np.full(n, level), 1, {**METHOD, **method})


def quick(request: Request, runs: int | None) -> Request:
    """The same request, with short runs, and timed long enough for a frame rate."""
    path = request.config.path
    text = path.read_text().replace('duration = "0.5 s"', 'duration = "1.1 s"')
    path.write_text(text.replace("[measure]", '[measure]\nrun_duration = "200 ms"'))
    return replace(request, config=load(path), runs=runs)


def row(request: Request, check_id: str) -> Row:
    """The planned row of one check, limited or not."""
    return expand(request.config, request.target).of(check_id)[0]


def test_one_odd_run_spoils_them_all() -> None:
    """A run by another method, too short for it or broken leaves no values: the rest would be a selection."""
    good = [timed_series(), timed_series(level=0.0021)]
    method = digest_of(good[0].method)
    assert replicates.values("latency.p50", good, method)[0] == (0.002, 0.0021)
    for odd in (
        timed_series(streams=2),
        timed_series(n=50),
        Series(np.zeros(500), np.full(500, np.nan), 1, METHOD),
        timed_series(n=0),
    ):
        found, why_not = replicates.values("latency.p99", [*good, odd], method)
        assert found == ()
        assert "run 3" in why_not


def test_values_are_of_what_was_asked() -> None:
    """Seconds of a percentile, frames a second; nothing of what runs say nothing about."""
    took = np.linspace(0.001, 0.002, 1001)
    series = Series(np.concatenate([[0.0], np.cumsum(took)[:-1]]), took, 4, METHOD)
    assert replicates.value("latency.p50", series) == pytest.approx(0.0015)
    assert replicates.value("latency.p90", series) == pytest.approx(0.0019)
    assert replicates.value("fps.sustained", series) == pytest.approx(4 / 0.0015, rel=1e-3)
    assert replicates.value("memory.peak", series) is None


def test_a_few_inferences_have_no_tail() -> None:
    """99 samples hold none beyond the 99th percentile, 100 do."""
    assert replicates.value("latency.p99", timed_series(99)) is None
    assert replicates.value("latency.p99", timed_series(100)) == 0.002
    assert replicates.value("latency.p90", timed_series(9)) is None
    assert replicates.value("latency.p90", timed_series(10)) == 0.002


def test_runs_are_fresh_processes_and_taken_once(ask: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many workers as runs, each by the method of the row's own series; other rows read the same files."""
    asked = quick(ask(), runs=3)
    pids: list[int] = []
    with closing(Session.open(asked)) as session:
        fresh = session.engines.fresh

        @contextmanager
        def noted(model: str, precision: str) -> Iterator[EngineWorker]:
            with fresh(model, precision) as worker:
                pids.append(worker.pid)
                yield worker

        monkeypatch.setattr(session.engines, "fresh", noted)
        p99 = session.judge(row(asked, "latency.p99")).result
        rate = session.judge(row(asked, "fps.sustained")).result
        again = replicates.take(session, "toy", "fp32", 3)
    assert p99.measurement is not None
    assert rate.measurement is not None
    assert len(p99.measurement.runs) == len(rate.measurement.runs) == 3, (p99.details, rate.details)
    assert len(set(pids)) == 3
    expected = [float(np.quantile(one.duration, 0.99, method="inverted_cdf")) for one in again]
    assert list(p99.measurement.runs) == expected
    assert all(digest_of(one.method) == p99.measurement.method for one in again)
    files = sorted(path.name for path in (asked.report_dir / "samples").glob("toy-fp32-run-*.npz"))
    assert files == [f"toy-fp32-run-{number}.npz" for number in (1, 2, 3)]


def test_without_runs_nothing_more_is_timed(ask: Asks) -> None:
    """One run is what there was before: no values, no files, no time."""
    asked = quick(ask(), runs=None)
    with closing(Session.open(asked)) as session:
        result = session.judge(row(asked, "latency.p99")).result
    assert result.measurement is not None
    assert result.measurement.runs == ()
    assert not list((asked.report_dir / "samples").glob("*-run-*"))


def test_cold_starts_are_runs(ask: Asks) -> None:
    """Each load was a fresh process already: its values are the runs, as many as were asked for but three at least."""
    asked = quick(ask(), runs=4)
    with closing(Session.open(asked)) as session:
        result = session.judge(row(asked, "latency.cold_load")).result
    assert result.measurement is not None
    assert len(result.measurement.runs) == 4
    assert result.measurement.value == max(result.measurement.runs)
