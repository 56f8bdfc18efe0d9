"""The evidence of rows, with a real agent and real engines on the CPU, and a fake GPU where one is needed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import EngineError
from hil.plan import expand
from hil.results import Cause, Evidence, ExecutedOn, Judgement, Row, Verdict
from hil.session import Session
from hil.session.target.board_match import Board
from hil.session.target.holding import hold
from hil.targets.client import AgentClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.session import Request
    from hil.targets.engine_worker import EngineWorker
    from tests.session.conftest import MakesRequests

BOARD = Board("h200", "NVIDIA H200", "9.0")
H200 = {"kind": "gpu", "name": "NVIDIA H200", "sm": "9.0"}
OWN = Row(id="grasp.error", model="toy", precision="fp32", required=True)
GOOD = Judgement(verdict=Verdict.PASSED, reason="the error is small")


def on_board(request: Request) -> Session:
    """Open a session with a confirmed board."""
    held = hold(request)
    facts = {**held.facts, "facts": {"onnxruntime": {"gpu": BOARD.gpu, "sm": BOARD.sm, "cuda": "12.8"}}}
    return Session(request, replace(held, evidence=Evidence.DEVICE, board=BOARD, facts=facts))


def row(request: Request, check_id: str) -> Row:
    """Return the planned row of one check."""
    return expand(request.config, request.target).of(check_id)[0]


@pytest.fixture
def engine_on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make engines report that they run on ``work``."""
    load = AgentClient.load

    def set_processor(work: Mapping[str, Any] | None) -> None:
        def loaded(
            self: AgentClient, key: str, options: Mapping[str, Any], deadline: float, **how: Any
        ) -> EngineWorker:
            worker = load(self, key, options, deadline, **how)
            worker.executed_on = work
            worker.about = {"cuda": "ctypes", "io": "named", "device_memory_size": 4096}
            return worker

        monkeypatch.setattr(AgentClient, "load", loaded)

    return set_processor


def test_an_engine_on_the_cpu_of_a_confirmed_board_is_host(make_request: MakesRequests) -> None:
    """An engine on the CPU of a confirmed board has evidence host."""
    request = make_request()
    with closing(on_board(request)) as session:
        for name in ("contract.signature", "memory.engine_size"):
            result = session.judge(row(request, name)).result
            assert result.executed_on is not None
            assert (result.evidence, result.executed_on.kind) == (Evidence.HOST, "cpu"), name


def test_an_engine_that_ran_on_the_board_is_a_device(make_request: MakesRequests, engine_on: Any) -> None:
    """Rows that the engine executed have the GPU's name and SM, other rows ``host``, and a failed build no evidence."""
    request = make_request()
    engine_on(H200)
    with closing(on_board(request)) as session:
        signature = session.judge(row(request, "contract.signature"))
        size = session.judge(row(request, "memory.engine_size"))
        data = session.judge(row(request, "parity.data")).result
        fp16 = row(request, "contract.signature").model_copy(update={"precision": "fp16"})
        unbuilt = session.judge(fp16).result
        own = {
            (by_engine, changes): session.enter(OWN.model_copy(update=dict(changes)), GOOD, by_engine=by_engine).result
            for by_engine, changes in (
                (True, ()),
                (False, ()),
                (True, (("precision", ""),)),
                (True, (("model", ""), ("precision", ""))),
                (True, (("precision", "fp16"),)),
            )
        }
    assert (signature.result.evidence, signature.result.executed_on) == (Evidence.DEVICE, ExecutedOn(**H200))
    assert signature.engines[0]["executed_on"] == H200
    (environment,) = size.environments.values()
    assert environment["accelerator"] == {"gpu": "NVIDIA H200", "sm": "9.0", "cuda": "12.8"}
    assert environment["driven_by"] == {"cuda": "ctypes", "io": "named"}
    assert data.executed_on is not None
    assert (data.evidence, data.executed_on.kind) == (Evidence.HOST, "cpu")
    assert (unbuilt.verdict, unbuilt.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
    assert (unbuilt.evidence, unbuilt.executed_on) == (None, None)
    (by_its_engine, *others) = own.values()
    assert by_its_engine.evidence is Evidence.DEVICE
    assert [result.evidence for result in others] == [Evidence.HOST] * 4
    assert others[-1].executed_on is None


def test_another_processor_than_the_confirmed_one_is_host(make_request: MakesRequests, engine_on: Any) -> None:
    """An engine on another GPU of the same machine does not have evidence device."""
    other = {**H200, "name": "NVIDIA H100"}
    request = make_request()
    engine_on(other)
    with closing(on_board(request)) as session:
        result = session.judge(row(request, "contract.signature")).result
    assert (result.evidence, result.executed_on) == (Evidence.HOST, ExecutedOn(**other))


def test_a_gpu_without_a_confirmed_board_is_host(make_request: MakesRequests, engine_on: Any) -> None:
    """Without ``board`` in hil.toml no board is confirmed, so the evidence is host."""
    request = make_request()
    engine_on(H200)
    with closing(Session.open(request)) as session:
        result = session.judge(row(request, "contract.signature")).result
    assert (result.evidence, result.executed_on) == (Evidence.HOST, ExecutedOn(**H200))


def test_a_stand_in_is_emulated_on_any_processor(make_request: MakesRequests, engine_on: Any) -> None:
    """A declared stand-in is emulated on any processor; the check of the data itself has evidence host."""
    request = make_request("stand-in")
    engine_on(H200)
    with closing(Session.open(request)) as session:
        assert session.judge(row(request, "contract.signature")).result.evidence is Evidence.EMULATED
        assert session.judge(row(request, "parity.data")).result.evidence is Evidence.HOST


def test_an_engine_that_changes_its_processor_is_an_error(make_request: MakesRequests, engine_on: Any) -> None:
    """An engine that first ran on the GPU and now runs on the CPU raises ``EngineError``."""
    request = make_request()
    engine_on(H200)
    with closing(on_board(request)) as session:
        assert session.judge(row(request, "contract.signature")).result.evidence is Evidence.DEVICE
        engine_on(None)
        with pytest.raises(EngineError, match="run again"), session.engines.fresh("toy", "fp32"):
            pass


def test_under_a_fallback_no_row_is_better_than_fallback(
    make_request: MakesRequests, engine_on: Any, messages: list[str]
) -> None:
    """Under a fallback, timed rows are not run, and all others have evidence ``fallback``."""
    request = make_request("board")
    engine_on(H200)
    with closing(Session.open(request)) as session:
        assert (session.evidence, session.requested, session.used) == (Evidence.CPU_FALLBACK, "board", "cpu")
        assert "on target 'board'" in str(session.fallback_reason)
        timed = session.judge(row(request, "latency.p99")).result
        for name in ("parity.data", "contract.signature"):
            result = session.judge(row(request, name)).result
            assert (result.verdict is Verdict.NOT_RUN, result.evidence) == (False, Evidence.CPU_FALLBACK)
            assert (result.target.requested, result.target.used) == ("board", "cpu")
    assert (timed.verdict, timed.cause) == (Verdict.NOT_RUN, Cause.FALLBACK)
    assert "never counts as board" in messages[0]
