from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hil.config.load import load
from hil.errors import EngineBuildError, EngineError, LabError, Unsupported, UserError, WorkerLost
from hil.onnx_files.signature import read_signature
from hil.quantize import calibrate
from hil.quantize.calibrate import insert
from hil.session import Request, Session
from hil.session.engines import engines
from hil.session.engines.provision import Provisioned, provision

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from tests.session.conftest import MakesRequests


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


CALIBRATION = '\n[models.toy.calibration]\ndata = "synthetic"\n'


@pytest.fixture
def three_precisions(make_request: MakesRequests) -> Request:
    """Return a request for a model in three precisions, of which the CPU cannot build the second."""
    request = make_request()
    path = request.config.path
    text = path.read_text().replace('precisions = ["fp32"]', 'precisions = ["fp32", "fp16", "int8"]')
    path.write_text(text + CALIBRATION)
    return replace(request, config=load(path))


def built(tmp_path: Path) -> dict[str, str]:
    """Return the precisions in the store, and the kind of process that built each."""
    records = [json.loads(file.read_text()) for file in tmp_path.glob("cache/**/engines/*.json")]
    return {record["facts"]["precision"]: record["about"]["process"] for record in records}


def test_planned_engines_are_built_together_at_the_first_request(three_precisions: Request, tmp_path: Path) -> None:
    """All planned engines of a model are built in one process when the first of them is needed, and not earlier."""
    with closing(Session.open(three_precisions)) as session:
        session.engines.plan([("toy", precision) for precision in ("fp16", "fp32", "int8", "fp32")])
        assert built(tmp_path) == {}
        session.engines.provisioned("toy", "int8")
        assert built(tmp_path) == {"fp32": "fresh", "int8": "kept"}


def test_only_the_engines_of_the_needed_model_are_built(
    three_precisions: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next model's engines are not built before the first model's were used."""
    attempted = []

    def noted(session: Session, model: str, precision: str, *, more: bool) -> Provisioned:
        attempted.append((model, precision, more))
        return provision(session, "toy", "fp32", more=more)

    monkeypatch.setattr(engines, "provision", noted)
    with closing(Session.open(three_precisions)) as session:
        session.engines.plan([("a", "fp32"), ("b", "fp32"), ("a", "int8"), ("b", "int8")])
        session.engines.provisioned("a", "int8")
        assert attempted == [("a", "fp32", True), ("a", "int8", False)]
        session.engines.provisioned("b", "fp32")
        assert attempted[2:] == [("b", "fp32", True), ("b", "int8", False)]


def test_a_file_that_the_quantizer_made_invalid_is_not_blamed_on_the_user(
    three_precisions: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If ONNX Runtime cannot load what hil quantized, the message states that, and what to do instead."""

    def twice(*arguments: Any) -> onnx.ModelProto:
        made = insert(*arguments)
        made.graph.node.append(made.graph.node[-1])
        return made

    monkeypatch.setattr(calibrate, "insert", twice)
    with (
        closing(Session.open(three_precisions)) as session,
        pytest.raises(EngineBuildError, match=r"two nodes with same.*hil quantized this file .*toy.onnx.*as deployed"),
    ):
        session.engines.provisioned("toy", "int8")


def test_a_failure_of_an_early_build_is_reported_by_its_rows(three_precisions: Request, messages: list[str]) -> None:
    """A precision that cannot be built fails only its own rows; the progress reports that it has no engine."""
    with closing(Session.open(three_precisions)) as session:
        session.engines.plan([("toy", precision) for precision in ("fp16", "fp32")])
        with session.engines.lease("toy", "fp32") as worker:
            assert worker.pid > 0
        assert messages.count("toy fp16: there is no engine; its checks report why") == 1
        with pytest.raises(Unsupported, match="fp16"):
            session.engines.provisioned("toy", "fp16")


def test_a_failure_of_an_early_build_affects_no_other_precision(
    three_precisions: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any failure of one precision, also a lost worker, is raised only when that precision is requested."""
    failures = {kind.__name__: kind for kind in (EngineBuildError, EngineError, Unsupported, UserError, WorkerLost)}
    attempted = []

    def failing(session: Session, model: str, precision: str, *, more: bool) -> Provisioned:
        attempted.append(precision)
        if precision in failures:
            raise failures[precision]("no engine of this")
        return provision(session, model, precision, more=more)

    monkeypatch.setattr(engines, "provision", failing)
    with closing(Session.open(three_precisions)) as session:
        session.engines.plan([("toy", precision) for precision in (*failures, "fp32")])
        assert session.engines.provisioned("toy", "fp32").engine.digest
        for precision, kind in failures.items():
            with pytest.raises(kind, match="no engine of this"):
                session.engines.provisioned("toy", precision)
    assert attempted.count("WorkerLost") == 1, "a build that crashes takes minutes, and would crash for each row"


def test_a_lost_target_ends_the_building(three_precisions: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost target is raised at once as a lab failure, and no other engine is built."""
    attempted = []

    def lost(session: Session, model: str, precision: str, *, more: bool) -> Provisioned:  # noqa: ARG001 - as the real one
        attempted.append(precision)
        raise LabError("the connection was lost")

    monkeypatch.setattr(engines, "provision", lost)
    with closing(Session.open(three_precisions)) as session:
        session.engines.plan([("toy", precision) for precision in ("int8", "fp32")])
        with pytest.raises(LabError, match="the connection was lost"):
            session.engines.provisioned("toy", "fp32")
    assert attempted == ["int8"]


def test_without_a_plan_nothing_is_built_ahead(three_precisions: Request, tmp_path: Path) -> None:
    """A session without a plan builds only the requested engine."""
    with closing(Session.open(three_precisions)) as session:
        session.engines.provisioned("toy", "fp32")
        assert built(tmp_path) == {"fp32": "fresh"}


def test_a_quantized_deployed_file_is_the_source_of_the_int8_engine_only(three_precisions: Request) -> None:
    """The fp32 engine is built from ``path``, even if ``deployed`` is quantized."""
    path = three_precisions.config.path
    with closing(Session.open(three_precisions)) as session:
        quantized = session.engines.provisioned("toy", "int8").source
        (path.parent / "int8.onnx").write_bytes(quantized.read_bytes())
    text = path.read_text().replace(CALIBRATION, "")
    path.write_text(text.replace("\npath =", '\ndeployed = "int8.onnx"\npath =', 1))
    with closing(Session.open(replace(three_precisions, config=load(path)))) as session:
        fp32, int8 = (session.engines.provisioned("toy", precision) for precision in ("fp32", "int8"))
    assert read_signature(int8.source).has_qdq
    assert not read_signature(fp32.source).has_qdq
    assert fp32.engine.digest != int8.engine.digest
