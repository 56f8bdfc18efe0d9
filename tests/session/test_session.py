from __future__ import annotations

import os
import signal
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import WorkerLost
from hil.plan import expand
from hil.results import Cause, Evidence, Row, Verdict
from hil.series import digest_of
from hil.session import Request, Session

if TYPE_CHECKING:
    from tests.session.conftest import Asks


def row(request: Request, check_id: str) -> Row:
    """Return the planned row of one check."""
    return expand(request.config, request.target).of(check_id)[0]


def test_a_result_carries_what_its_digests_refer_to(ask: Asks) -> None:
    """Method, environment, engine and model come along: no second message is needed."""
    asked = ask()
    with closing(Session.open(asked)) as session:
        outcome = session.judge(row(asked, "parity.outputs"))
    result = outcome.result
    assert (result.verdict, result.evidence) == (Verdict.PASSED, Evidence.HOST), result.reason
    assert result.measurement is not None
    assert digest_of(outcome.methods[result.measurement.method]) == result.measurement.method
    assert digest_of(outcome.environments[result.measurement.environment]) == result.measurement.environment
    assert [engine["digest"] for engine in outcome.engines] == [result.engine]
    assert (asked.report_dir / outcome.engines[0]["file"]).is_file()
    assert [model["name"] for model in outcome.models] == ["toy"]


def test_what_the_runtime_cannot_do_is_not_run(ask: Asks) -> None:
    """A row of a precision without kernels is not run."""
    asked = ask()
    with closing(Session.open(asked)) as session:
        fp16 = row(asked, "parity.outputs").model_copy(update={"precision": "fp16"})
        result = session.judge(fp16).result
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
    assert result.evidence is None


def test_the_check_after_a_dead_worker_gets_a_fresh_one(ask: Asks) -> None:
    """A crash fails only the check during which it happened."""
    asked = ask()
    with closing(Session.open(asked)) as session:
        signature = row(asked, "contract.signature")
        assert session.judge(signature).result.verdict is Verdict.PASSED
        with session.engines.lease("toy", "fp32") as worker:
            os.kill(worker.pid, signal.SIGKILL)
        died = session.judge(row(asked, "parity.repeatable")).result
        assert (died.verdict, died.cause) == (Verdict.NOT_RUN, Cause.CRASHED)
        assert session.judge(row(asked, "parity.repeatable")).result.verdict is Verdict.PASSED


def test_a_users_test_hears_of_a_dead_worker(ask: Asks) -> None:
    """``hil_engine.run`` raises once and works again after."""
    with closing(Session.open(ask())) as session:
        engine = session.engine("toy", "fp32")
        feeds = next(iter(session.dataset("toy").batches(4))).inputs
        with session.engines.lease("toy", "fp32") as worker:
            os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            engine.run(feeds)
        assert engine.run(feeds)["scores"].shape == (4, 4)


def test_under_a_fallback_times_mean_nothing(ask: Asks) -> None:
    """What needs the board is not run; what does not, runs, and keeps the lowest evidence."""
    asked = ask("board")
    with closing(Session.open(asked)) as session:
        timed = session.judge(row(asked, "latency.p99")).result
        parity = session.judge(row(asked, "parity.outputs")).result
    assert (timed.verdict, timed.cause) == (Verdict.NOT_RUN, Cause.FALLBACK)
    assert (parity.verdict, parity.evidence) == (Verdict.PASSED, Evidence.CPU_FALLBACK)
    assert (parity.target.requested, parity.target.used) == ("board", "cpu")


def test_skipped_rows_say_why(ask: Asks) -> None:
    """Under ``skip`` no row runs, and each gives the reason why the target is unavailable."""
    asked = ask("board", "skip")
    with closing(Session.open(asked)) as session:
        for planned in expand(asked.config, asked.target).rows:
            result = session.judge(planned).result
            assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.FALLBACK)
            assert "on target 'board'" in result.reason


def test_an_engine_built_elsewhere_is_not_judged_in_secret(ask: Asks) -> None:
    """``engine = "x.plan"`` asks for that very file: judging another one that was built instead is no answer."""
    asked = ask()
    path = asked.config.path
    path.write_text(path.read_text().replace('path = "toy.onnx"', 'path = "toy.onnx"\nengine = "toy.onnx"'))
    asked = replace(asked, config=load(path))
    with closing(Session.open(asked)) as session:
        result = session.judge(row(asked, "contract.signature")).result
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
    assert "built elsewhere" in result.reason
