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
            self: AgentClient, key: str, options: Mapping[str, Any], deadline: float, *, fresh: bool = False
        ) -> EngineWorker:
            worker = load(self, key, options, deadline, fresh=fresh)
            worker.executed_on = work
            worker.about = {"cuda": "ctypes", "io": "named", "device_memory_size": 4096}
            return worker

        monkeypatch.setattr(AgentClient, "load", loaded)

    return set_processor


def test_an_engine_on_the_cpu_of_a_confirmed_board_is_host(make_request: MakesRequests) -> None:
    """An engine on the CPU of a confirmed board has evidence host."""
    request = make_request()
    with closing(on_board(request)) as session:
        for name in ("contract.signature", "memory.engine_size", "parity.outputs"):
            result = session.judge(row(request, name)).result
            assert result.executed_on is not None
            assert (result.evidence, result.executed_on.kind) == (Evidence.HOST, "cpu"), name


def test_an_engine_that_ran_on_the_board_is_a_device(make_request: MakesRequests, engine_on: Any) -> None:
    """Its rows have the GPU's name and SM; the check of the data itself has evidence host."""
    request = make_request()
    engine_on(H200)
    with closing(on_board(request)) as session:
        parity = session.judge(row(request, "parity.outputs"))
        data = session.judge(row(request, "parity.data")).result
    assert (parity.result.evidence, parity.result.executed_on) == (Evidence.DEVICE, ExecutedOn(**H200))
    assert parity.engines[0]["executed_on"] == H200
    (environment,) = parity.environments.values()
    assert environment["accelerator"] == {"gpu": "NVIDIA H200", "sm": "9.0", "cuda": "12.8"}
    assert environment["driven_by"] == {"cuda": "ctypes", "io": "named"}
    assert data.executed_on is not None
    assert (data.evidence, data.executed_on.kind) == (Evidence.HOST, "cpu")


@pytest.mark.parametrize("other", [{**H200, "name": "NVIDIA H100"}, {**H200, "sm": "8.7"}, {**H200, "kind": "npu"}])
def test_another_processor_than_the_confirmed_one_is_host(
    make_request: MakesRequests, engine_on: Any, other: dict[str, str]
) -> None:
    """An engine on another GPU of the same machine does not have evidence device."""
    request = make_request()
    engine_on(other)
    with closing(on_board(request)) as session:
        result = session.judge(row(request, "parity.outputs")).result
    assert (result.evidence, result.executed_on) == (Evidence.HOST, ExecutedOn(**other))


def test_a_gpu_without_a_confirmed_board_is_host(make_request: MakesRequests, engine_on: Any) -> None:
    """Without ``board`` in hil.toml no board is confirmed, so the evidence is host."""
    request = make_request()
    engine_on(H200)
    with closing(Session.open(request)) as session:
        result = session.judge(row(request, "parity.outputs")).result
    assert (result.evidence, result.executed_on) == (Evidence.HOST, ExecutedOn(**H200))


def test_a_stand_in_is_emulated_on_any_processor(make_request: MakesRequests, engine_on: Any) -> None:
    """A declared stand-in is emulated on any processor; the check of the data itself has evidence host."""
    request = make_request("stand-in")
    engine_on(H200)
    with closing(Session.open(request)) as session:
        assert session.judge(row(request, "parity.outputs")).result.evidence is Evidence.EMULATED
        assert session.judge(row(request, "parity.data")).result.evidence is Evidence.HOST


def test_an_engine_that_changes_its_processor_is_an_error(make_request: MakesRequests, engine_on: Any) -> None:
    """An engine that first ran on the GPU and now runs on the CPU raises ``EngineError``."""
    request = make_request()
    engine_on(H200)
    with closing(on_board(request)) as session:
        assert session.judge(row(request, "parity.outputs")).result.evidence is Evidence.DEVICE
        engine_on(None)
        with pytest.raises(EngineError, match="run again"), session.engines.fresh("toy", "fp32"):
            pass


def test_a_row_without_an_engine_has_no_processor(make_request: MakesRequests) -> None:
    """A row without an engine does not have evidence device."""
    request = make_request()
    with closing(on_board(request)) as session:
        fp16 = row(request, "parity.outputs").model_copy(update={"precision": "fp16"})
        result = session.judge(fp16).result
        own = session.enter(OWN.model_copy(update={"precision": "fp16"}), GOOD, by_engine=True).result
    assert (result.cause, result.evidence, result.executed_on) == (Cause.UNSUPPORTED, None, None)
    assert (own.evidence, own.executed_on) == (Evidence.HOST, None)


@pytest.mark.parametrize(
    ("by_engine", "changes", "evidence"),
    [
        (True, {}, Evidence.DEVICE),
        (False, {}, Evidence.HOST),
        (True, {"precision": ""}, Evidence.HOST),
        (True, {"model": "", "precision": ""}, Evidence.HOST),
    ],
)
def test_a_users_row_is_device_only_with_its_engine(
    make_request: MakesRequests, engine_on: Any, changes: dict[str, str], evidence: Evidence, *, by_engine: bool
) -> None:
    """A user's test that did not request the engine has evidence host."""
    request = make_request()
    engine_on(H200)
    with closing(on_board(request)) as session:
        session.engine("toy", "fp32")
        assert session.enter(OWN.model_copy(update=changes), GOOD, by_engine=by_engine).result.evidence is evidence


def test_under_a_fallback_every_row_is_fallback(make_request: MakesRequests, engine_on: Any) -> None:
    """Under a fallback every row has evidence fallback, also the host's own checks and work on a GPU."""
    request = make_request("board")
    engine_on(H200)
    with closing(Session.open(request)) as session:
        for name in ("parity.data", "parity.outputs"):
            assert session.judge(row(request, name)).result.evidence is Evidence.CPU_FALLBACK
