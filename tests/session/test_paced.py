"""Scenarios through a real agent: inferences released at a rate, and work without a pause."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hil.checks import paced
from hil.config.load import load
from hil.plan import expand
from hil.results import Cause, Row, Verdict
from hil.session import Request, Session
from hil.session.gather.paced import Pace, released, releases

if TYPE_CHECKING:
    from tests.session.conftest import Asks

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
"""Verdicts under limits that any machine keeps: on a busy one a series may drift or be too correlated."""


def with_scenarios(request: Request, deadline: str = "", measure: str = "") -> Request:
    """The same request of a model with a rate, and limits that any machine keeps."""
    path = request.config.path
    text = path.read_text().replace("[models.toy.limits]", RUN.format(deadline=deadline), 1)
    path.write_text(text.replace("[measure]", f'[measure]\nsustained = "2 s"\n{measure}'))
    return replace(request, config=load(path))


def row(request: Request, check_id: str) -> Row:
    """The planned row of one check."""
    return expand(request.config, request.target).of(check_id)[0]


def test_all_rows_of_a_pace_read_one_series(ask: Asks) -> None:
    """Four judgements of one series at the model's rate; its method says the rate, and of deadlines the deadline."""
    asked = with_scenarios(ask(), 'deadline = "2 s"')
    with closing(Session.open(asked)) as session:
        outcomes = [
            session.judge(row(asked, f"paced.{name}")) for name in ("response_p99", "missed", "streak", "jitter")
        ]
    results = [outcome.result for outcome in outcomes]
    assert [one.verdict for one in results[1:3]] == [Verdict.PASSED] * 2, [one.reason for one in results]
    assert all(one.verdict in LOOSE for one in results), [one.reason for one in results]
    assert len(list((asked.report_dir / "samples").glob("*paced*.npz"))) == 1
    methods = [next(iter(outcome.methods.values())) for outcome in outcomes]
    assert {method["period"] for method in methods} == {0.005}
    assert [method.get("deadline") for method in methods] == [None, 2.0, 2.0, None]
    assert results[1].details["releases"] == 918  # twice the 459 that a 99th percentile needs


def test_a_stalled_worker_misses_a_row_of_deadlines(ask: Asks) -> None:
    """A worker stopped for 300 ms misses all it should have done meanwhile, at 200 Hz about sixty in a row."""
    asked = with_scenarios(ask())
    with closing(Session.open(asked)) as session:
        with session.engines.lease("toy", "fp32") as worker:
            pid = worker.pid

        def stall() -> None:
            time.sleep(2.5)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STALL)
            os.kill(pid, signal.SIGCONT)

        thread = threading.Thread(target=stall)
        thread.start()
        result = session.judge(row(asked, "paced.streak")).result
        thread.join()
        series = released(session, row(asked, "paced.streak"))
    late = paced.response(series) > 0.005
    assert paced.response(series).max() >= STALL - 0.05
    assert result.measurement is not None
    assert result.measurement.value == paced.longest(late) >= 50
    assert np.allclose(np.diff(paced.release(series)), 0.005)


def test_no_more_is_released_than_limits_need_and_time_allows(ask: Asks) -> None:
    """Twice the fewest releases that could pass; a share missed needs more; the time for it is limited."""
    asked = with_scenarios(ask())
    with closing(Session.open(asked)) as session:
        pace = Pace(200.0, 0.005)
        assert releases(session, "toy", "fp32", pace) == 918
    path = asked.config.path
    path.write_text(path.read_text().replace('missed = "99 %"', 'missed = "0.1 %"'))
    asked = replace(asked, config=load(path), run_id="two")
    with closing(Session.open(asked)) as session:
        assert releases(session, "toy", "fp32", pace) == 2 * 4603
    path.write_text(path.read_text().replace("[measure]", '[measure]\npaced = "3 s"'))
    asked = replace(asked, config=load(path), run_id="three")
    with closing(Session.open(asked)) as session:
        assert releases(session, "toy", "fp32", pace) == 600


def test_minutes_of_work_are_one_series(ask: Asks) -> None:
    """Three judgements of one window, by a method of its own: nobody compares it with four seconds."""
    asked = with_scenarios(ask())
    with closing(Session.open(asked)) as session:
        outcomes = [session.judge(row(asked, f"sustained.{name}")) for name in ("p99", "fps", "slowdown")]
    results = [outcome.result for outcome in outcomes]
    assert results[1].verdict is Verdict.PASSED, results[1].reason
    assert all(one.verdict in LOOSE for one in results), [one.reason for one in results]
    assert all(one.details["seconds"] >= 1.9 for one in results)
    (method,) = {str(sorted(next(iter(outcome.methods.values())).items())) for outcome in outcomes}
    assert "'sustained'" in method


def test_a_check_without_a_rate_is_not_run(ask: Asks) -> None:
    """A policy may want it of a model that nobody told the rate of: not run, and the reason says where to write it."""
    asked = ask()
    with closing(Session.open(asked)) as session:
        wanted = Row(id="paced.missed", model="toy", precision="fp32", scenario="paced", required=True)
        result = session.judge(wanted).result
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
    assert "[models.toy.run]" in result.reason
