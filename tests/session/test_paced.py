"""Scenarios through a real agent: inferences released at a rate, and work without a pause."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.checks import paced
from hil.config.load import load
from hil.errors import Unsupported
from hil.plan import expand
from hil.results import Row, Verdict
from hil.session import Request, Session
from hil.session.gather.paced import Pace, pace_of, paced_series, releases

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests

RUN = """
[models.toy.run]
rate = "200 Hz"
{deadline}

[models.toy.limits]
paced = {{ p99 = "5 s", missed = "99 %", streak = 100000, jitter = "5 s" }}
sustained = {{ p99 = "5 s", fps = 1, slowdown = "99 %" }}
"""
STALL = 0.3
LOOSE = (Verdict.PASSED, Verdict.INCONCLUSIVE)
"""Verdicts under limits that any machine meets: on a busy one a series may drift or be too correlated."""


def with_scenarios(request: Request, deadline: str = "", measure: str = "") -> Request:
    """Return the request with a rate for the model, and limits that any machine meets."""
    path = request.config.path
    text = path.read_text().replace("[models.toy.limits]", RUN.format(deadline=deadline), 1)
    path.write_text(text.replace("[measure]", f'[measure]\nsustained = "2 s"\n{measure}'))
    return replace(request, config=load(path))


def row(request: Request, check_id: str) -> Row:
    """Return the planned row of one check."""
    return expand(request.config, request.target).of(check_id)[0]


def test_all_rows_of_a_pace_read_one_series(make_request: MakesRequests) -> None:
    """Four rows judge one series; the method has the rate and, for rows that use it, the deadline."""
    request = with_scenarios(make_request(), 'deadline = "2 s"')
    with closing(Session.open(request)) as session:
        outcomes = [
            session.judge(row(request, f"paced.{name}")) for name in ("response_p99", "missed", "streak", "jitter")
        ]
    results = [outcome.result for outcome in outcomes]
    assert [result.verdict for result in results[1:3]] == [Verdict.PASSED] * 2, [result.reason for result in results]
    assert all(result.verdict in LOOSE for result in results), [result.reason for result in results]
    assert len(list((request.report_dir / "samples").glob("*paced*.npz"))) == 1
    methods = [next(iter(outcome.methods.values())) for outcome in outcomes]
    assert {method["period"] for method in methods} == {0.005}
    assert [method.get("deadline") for method in methods] == [None, 2.0, 2.0, None]
    assert results[1].details["releases"] == 918  # twice the 459 that a 99th percentile needs


def test_a_stalled_worker_misses_consecutive_deadlines(make_request: MakesRequests) -> None:
    """A worker that is stopped for 300 ms at 200 Hz misses about sixty deadlines in a row."""
    request = with_scenarios(make_request())
    with closing(Session.open(request)) as session:
        with session.engines.lease("toy", "fp32") as worker:
            pid = worker.pid

        def stall() -> None:
            time.sleep(2.5)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STALL)
            os.kill(pid, signal.SIGCONT)

        thread = threading.Thread(target=stall)
        thread.start()
        result = session.judge(row(request, "paced.streak")).result
        thread.join()
        series = paced_series(session, row(request, "paced.streak"))
    late = paced.response(series) > 0.005
    assert paced.response(series).max() >= STALL - 0.05
    assert result.measurement is not None
    assert result.measurement.value == paced.longest(late) >= 50
    assert np.allclose(np.diff(paced.release(series)), 0.005)


def test_the_number_of_releases_follows_limits_and_budget(make_request: MakesRequests) -> None:
    """Twice the fewest releases that could pass are planned, within the time of ``[measure] paced``."""
    request = with_scenarios(make_request())
    path = request.config.path
    counts = []
    for old, new in (("", ""), ('missed = "99 %"', 'missed = "0.1 %"'), ("[measure]", '[measure]\npaced = "3 s"')):
        path.write_text(path.read_text().replace(old, new, 1))
        config = load(path)
        session: Any = SimpleNamespace(config=config, plan=expand(config, "cpu"))
        counts.append(releases(session, "toy", "fp32", Pace(200.0, 0.005)))
    assert counts == [918, 2 * 4603, 600]


def test_all_sustained_rows_read_one_series(make_request: MakesRequests) -> None:
    """Three rows judge one window, whose method differs from that of a short series."""
    request = with_scenarios(make_request())
    with closing(Session.open(request)) as session:
        outcomes = [session.judge(row(request, f"sustained.{name}")) for name in ("p99", "fps", "slowdown")]
    results = [outcome.result for outcome in outcomes]
    assert results[1].verdict is Verdict.PASSED, results[1].reason
    assert all(result.verdict in LOOSE for result in results), [result.reason for result in results]
    assert all(result.details["seconds"] >= 1.9 for result in results)
    (method,) = {str(sorted(next(iter(outcome.methods.values())).items())) for outcome in outcomes}
    assert "'sustained'" in method


def test_a_check_without_a_rate_is_unsupported(make_request: MakesRequests) -> None:
    """A paced row of a model without a rate is unsupported, and the reason names the table for it."""
    session: Any = SimpleNamespace(model=make_request().config.spec.models.get)
    with pytest.raises(Unsupported, match=r"\[models\.toy\.run\]"):
        pace_of(session, "toy")
