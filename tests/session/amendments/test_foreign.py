from __future__ import annotations

import itertools
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
    from tests.session.conftest import MakesRequests


def edited(request: Request, old: str, new: str) -> Request:
    """Return the request with ``old`` replaced by ``new`` in ``hil.toml``."""
    path = request.config.path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return replace(request, config=load(path))


def with_engine(request: Request) -> Request:
    """Return the request with an engine that was built elsewhere."""
    return edited(request, 'path = "toy.onnx"', 'path = "toy.onnx"\nengine = "toy.onnx"')


def gathered(verdict: Verdict) -> Gathered:
    """Return what gathering gives for a check with this verdict."""
    return Gathered(judged(verdict, "2 declared samples were consumed"), {"version": 1})


def test_a_foreign_engines_calibration_never_passes(
    make_request: MakesRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign engine's calibration rows warn instead of passing, as its data is unknown; other verdicts stay."""
    request = with_engine(make_request())
    with closing(Session.open(request)) as session:
        monkeypatch.setattr(session.engines, "provisioned", lambda *_: None)  # as if the runtime had loaded it
        monkeypatch.setattr(judging, "evidence_of", lambda *_, **__: (Evidence.HOST, None))
        monkeypatch.setattr(records, "engines", lambda *_: [])
        monkeypatch.setattr(records, "models", lambda *_: [])
        for check_id, verdict in itertools.product(
            UNVERIFIABLE, (Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE)
        ):
            monkeypatch.setitem(GATHER, check_id, lambda *_, verdict=verdict: gathered(verdict))
            result = session.judge(Row(id=check_id, model="toy", precision="int8", required=True)).result
            assert result.verdict is (Verdict.WARNED if verdict is Verdict.PASSED else verdict)
            assert ("built elsewhere" in result.reason) is (verdict is Verdict.PASSED)


def test_an_engine_that_cannot_be_loaded_gives_no_warning(
    make_request: MakesRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the runtime cannot load the engine, the row is not run and its check is not called."""
    request = with_engine(make_request())
    monkeypatch.setitem(GATHER, "int8.cache", lambda *_: 1 / 0)
    with closing(Session.open(request)) as session:
        result = session.judge(Row(id="int8.cache", model="toy", precision="int8", required=True)).result
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)


def test_an_engine_built_here_gives_no_warning(make_request: MakesRequests, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``engine`` in hil.toml makes an engine foreign."""
    request = make_request()
    monkeypatch.setitem(GATHER, "int8.cache", lambda *_: gathered(Verdict.PASSED))
    with closing(Session.open(request)) as session:
        result = session.judge(Row(id="int8.cache", model="toy", precision="int8", required=True)).result
    assert result.verdict is Verdict.PASSED


def test_preflight_checks_sizes_for_tensorrt_only(make_request: MakesRequests) -> None:
    """A batch outside of ``shapes`` is a user error, but only on a TensorRT target."""
    sizes = 'task = "classification"\nbatch = 8\nshapes = { batch = [1, 2, 4] }'
    request = edited(make_request("gpu"), 'task = "classification"', sizes)
    with pytest.raises(UserError, match="batch = 8 is outside"):
        preflight(request.config, "gpu")
    preflight(request.config, "cpu")


def test_options_without_effect_on_the_cpu_are_reported_once(make_request: MakesRequests, messages: list[str]) -> None:
    """An option that the CPU ignores is reported once and is not part of the method."""
    request = edited(
        make_request(), "[models.toy.limits]", "[models.toy.run]\ncuda_graph = true\nstreams = 2\n\n[models.toy.limits]"
    )
    with closing(Session.open(request)) as session:
        for check_id in ("latency.p99", "parity.repeatable"):
            outcome = session.judge(expand(request.config, "cpu").of(check_id)[0])
            assert outcome.result.verdict is Verdict.PASSED, outcome.result.reason
            for method in outcome.methods.values():
                assert not method.get("cuda_graph")
                assert method.get("streams", 1) == 1
    assert [line for line in messages if "ignored here" in line] == [
        "toy: run.cuda_graph, run.streams have no effect on onnxruntime and are ignored here"
    ]


def test_int8_of_a_foreign_engine_needs_no_calibration_table(
    make_request: MakesRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a calibration table, a foreign engine's ``int8.calibration`` warns; its other INT8 rows are not run."""
    request = edited(with_engine(make_request()), 'precisions = ["fp32"]', 'precisions = ["int8"]')
    preflight(request.config, "cpu")
    with closing(Session.open(request)) as session:
        monkeypatch.setattr(session.engines, "provisioned", lambda *_: None)  # as if the runtime had loaded it
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


def test_a_foreign_engine_that_was_never_loaded_has_no_processor() -> None:
    """The GPU in a foreign engine's record, which is that of the target, does not count as the GPU that ran it."""
    facts = {"gpu": "NVIDIA H200", "sm": "9.0", "options": {}}
    assert _built_on(facts) is not None
    assert _built_on({**facts, "foreign": True}) is None
