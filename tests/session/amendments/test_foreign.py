from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hil.checks.verdicts import judged
from hil.config.load import load
from hil.errors import UserError
from hil.plan import expand
from hil.results import Cause, Evidence, Row, Verdict
from hil.session import Session, judging, records
from hil.session.amendments.foreign import UNVERIFIABLE
from hil.session.engines.engines import _built_on
from hil.session.gather import GATHER
from hil.session.gather.gathered import Gathered
from hil.session.preflight import preflight

if TYPE_CHECKING:
    from hil.session import Request
    from tests.session.conftest import Asks


def edited(request: Request, old: str, new: str) -> Request:
    """The request with ``hil.toml`` changed."""
    path = request.config.path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return replace(request, config=load(path))


def with_engine(request: Request) -> Request:
    """The request with an engine that was built elsewhere."""
    return edited(request, 'path = "toy.onnx"', 'path = "toy.onnx"\nengine = "toy.onnx"')


def judgement(verdict: Verdict) -> Gathered:
    """What a check gave."""
    return Gathered(judged(verdict, "2 declared samples were consumed"), {"version": 1})


@pytest.mark.parametrize("check_id", sorted(UNVERIFIABLE))
@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE])
def test_a_foreign_engines_calibration_never_passes(
    ask: Asks, monkeypatch: pytest.MonkeyPatch, check_id: str, verdict: Verdict
) -> None:
    """Whatever the config's own data would give: nobody here saw what that engine was made of. Bad news stays."""
    asked = with_engine(ask())
    with closing(Session.open(asked)) as session:
        monkeypatch.setattr(session.engines, "provisioned", lambda *_: None)  # as if a runtime had taken it
        monkeypatch.setitem(GATHER, check_id, lambda *_: judgement(verdict))
        monkeypatch.setattr(judging, "evidence_of", lambda *_, **__: (Evidence.HOST, None))
        monkeypatch.setattr(records, "engines", lambda *_: [])
        monkeypatch.setattr(records, "models", lambda *_: [])
        found = session.judge(Row(id=check_id, model="toy", precision="int8", required=True)).result
    assert found.verdict is (Verdict.WARNED if verdict is Verdict.PASSED else verdict)
    assert ("built elsewhere" in found.reason) is (verdict is Verdict.PASSED)


def test_an_engine_that_cannot_be_loaded_gives_no_warning(ask: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a runtime that loads no such engine the row is not run, and its check is not asked."""
    asked = with_engine(ask())
    monkeypatch.setitem(GATHER, "int8.cache", lambda *_: 1 / 0)
    with closing(Session.open(asked)) as session:
        result = session.judge(Row(id="int8.cache", model="toy", precision="int8", required=True)).result
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)


def test_an_engine_built_here_gives_no_warning(ask: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``engine`` in hil.toml makes an engine foreign."""
    asked = ask()
    monkeypatch.setitem(GATHER, "int8.cache", lambda *_: judgement(Verdict.PASSED))
    with closing(Session.open(asked)) as session:
        result = session.judge(Row(id="int8.cache", model="toy", precision="int8", required=True)).result
    assert result.verdict is Verdict.PASSED


def test_a_gpus_target_is_asked_for_sizes_before_it_is_touched(ask: Asks) -> None:
    """TensorRT builds for given sizes: a batch outside of them is the user's mistake, on that target alone."""
    sizes = 'task = "classification"\nbatch = 8\nshapes = { batch = [1, 2, 4] }'
    asked = edited(ask("gpu"), 'task = "classification"', sizes)
    with pytest.raises(UserError, match="batch = 8 is outside"):
        preflight(asked.config, "gpu")
    preflight(asked.config, "cpu")


def test_the_config_of_a_board_runs_on_the_cpu_too(ask: Asks, messages: list[str]) -> None:
    """One hil.toml serves both: what the CPU does not support is reported once, and the method says what was done."""
    asked = edited(
        ask(), "[models.toy.limits]", "[models.toy.run]\ncuda_graph = true\nstreams = 2\n\n[models.toy.limits]"
    )
    with closing(Session.open(asked)) as session:
        for check_id in ("latency.p99", "parity.repeatable"):
            outcome = session.judge(expand(asked.config, "cpu").of(check_id)[0])
            assert outcome.result.verdict is Verdict.PASSED, outcome.result.reason
            for method in outcome.methods.values():
                assert not method.get("cuda_graph")
                assert method.get("streams", 1) == 1
    assert [line for line in messages if "ignored here" in line] == [
        "toy: run.cuda_graph, run.streams have no effect on onnxruntime and are ignored here"
    ]


def test_int8_that_somebody_else_calibrated_needs_no_data_here(ask: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a calibration table nothing passes for calibrated: one row is warned, the others say what is missing."""
    asked = edited(with_engine(ask()), 'precisions = ["fp32"]', 'precisions = ["int8"]')
    preflight(asked.config, "cpu")
    with closing(Session.open(asked)) as session:
        monkeypatch.setattr(session.engines, "provisioned", lambda *_: None)  # as if a runtime had taken it
        monkeypatch.setattr(judging, "evidence_of", lambda *_, **__: (Evidence.HOST, None))
        monkeypatch.setattr(records, "engines", lambda *_: [])
        monkeypatch.setattr(records, "models", lambda *_: [])
        row = Row(id="int8.calibration", model="toy", precision="int8", required=True)
        result = session.judge(row).result
        assert result.verdict is Verdict.WARNED
        assert "built elsewhere" in result.reason
        for check_id, why in (("int8.cache", "built elsewhere"), ("int8.disjoint", "name that data in")):
            row = Row(id=check_id, model="toy", precision="int8", required=True)
            result = session.judge(row).result
            assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
            assert why in result.reason


def test_a_foreign_engine_that_was_never_loaded_ran_nowhere() -> None:
    """Its record has the GPU of the target that took it, which says nothing of what ran."""
    facts = {"gpu": "NVIDIA H200", "sm": "9.0", "options": {}}
    assert _built_on(facts) is not None
    assert _built_on({**facts, "foreign": True}) is None
