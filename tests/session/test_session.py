from __future__ import annotations

import os
import signal
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from hil.config.load import load
from hil.errors import UserError, WorkerLost
from hil.files.digests import file_digest
from hil.plan import expand
from hil.report.parts.next_steps import next_steps
from hil.results import Cause, Evidence, Row, Verdict
from hil.series import digest_of
from hil.session import Request, Session
from hil.session.preflight import check_soak, preflight

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests


DECLARED = ("contract.signature", "contract.shapes", "property.stable")
"""The checks that compare what the engine returns with what the file declares."""


def row(request: Request, check_id: str) -> Row:
    """Return the planned row of one check."""
    return expand(request.config, request.target).of(check_id)[0]


def test_an_outcome_has_everything_its_digests_refer_to(make_request: MakesRequests) -> None:
    """An outcome includes the method, environment, engine and model that its result refers to."""
    request = make_request()
    with closing(Session.open(request)) as session:
        assert (session.requested, session.used, session.is_fallback) == ("cpu", "cpu", False)
        outcome = session.judge(row(request, "parity.outputs"))
    result = outcome.result
    assert (result.verdict, result.evidence) == (Verdict.PASSED, Evidence.HOST), result.reason
    assert result.measurement is not None
    assert digest_of(outcome.methods[result.measurement.method]) == result.measurement.method
    assert digest_of(outcome.environments[result.measurement.environment]) == result.measurement.environment
    assert [engine["digest"] for engine in outcome.engines] == [result.engine]
    assert (request.report_dir / outcome.engines[0]["file"]).is_file()
    assert [model["name"] for model in outcome.models] == ["toy"]


def test_a_copy_with_separated_dimensions_is_built_and_the_users_file_is_recorded(make_request: MakesRequests) -> None:
    """A placeholder that occurs twice is renamed before the runtime reads it; model and parts are the judged file."""
    request = make_request()
    path = request.config.resolve("toy.onnx")
    proto = onnx.load(path)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "?"
    path.write_bytes(proto.SerializeToString())
    with closing(Session.open(request)) as session:
        outcome = session.judge(row(request, "parity.outputs"))
    assert outcome.result.verdict is Verdict.PASSED, outcome.result.reason
    built = onnx.load(request.report_dir / outcome.engines[0]["file"])
    assert [size.dim_param for size in built.graph.input[0].type.tensor_type.shape.dim] == ["x[0]", ""]
    assert outcome.models[0]["digest"] == file_digest(path) != outcome.engines[0]["digest"]


def test_a_wrongly_declared_output_fails_the_contract_only(make_request: MakesRequests) -> None:
    """For a wrongly declared output, the contract fails with the repair, and the values are still compared."""
    request = make_request()
    path = request.config.resolve("toy.onnx")
    proto = onnx.load(path)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    path.write_bytes(proto.SerializeToString())
    with closing(Session.open(request)) as session:
        results = [session.judge(row(request, check)).result for check in DECLARED]
        assert session.judge(row(request, "parity.outputs")).result.verdict is Verdict.PASSED
    for result in results:
        assert result.verdict is Verdict.FAILED
        assert "toy.onnx declares output 'scores' as [batch, 5], but its graph gives [batch, 4]" in result.reason


def test_a_refused_run_states_what_to_do_once(make_request: MakesRequests) -> None:
    """If the engine refuses every run, the reason has the advice, and the row gets no general advice besides."""
    request = make_request()
    path = request.config.resolve("toy.onnx")
    proto = onnx.load(path)
    last = proto.graph.node[-1]
    last.output[0] = "before"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full(4, 9), "absent"))
    proto.graph.node.append(onnx.helper.make_node("Gather", ["before", "absent"], ["scores"], axis=1))
    path.write_bytes(proto.SerializeToString())
    with closing(Session.open(request)) as session:
        result = session.judge(row(request, "parity.repeatable")).result
    assert (result.verdict, next_steps(result)) == (Verdict.FAILED, ())
    assert "keep the data and the input's range within the named bounds" in result.reason


def test_data_that_fit_the_network_but_not_its_declaration(make_request: MakesRequests) -> None:
    """If the data fit the network but not the declared input, the message has the size that the network accepts."""
    request = make_request()
    path = request.config.resolve("toy.onnx")
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=r"declares input 'x' as \[batch, 5\].* with 6 on axis 1 it fits"):
        preflight(request.config, "cpu")


@pytest.mark.parametrize(
    ("target", "soak", "limit", "least"),
    [
        ("gpu", "100", "1 MiB", "needs at least 2000 inferences: write soak = 2500, or omit it"),
        ("gpu", "100", "32 MiB", ""),
        ("gpu", '"1 s"', "1 MiB", ""),
        ("cpu", "100", "1 MiB", ""),
        ("gpu", "101", "1 MiB", ""),
        ("cpu", "100", "64 KiB", "needs at least 500 inferences: write soak = 625, or omit it"),
    ],
)
def test_a_soak_that_cannot_pass_is_refused_at_once(
    make_request: MakesRequests, target: str, soak: str, limit: str, least: str
) -> None:
    """A configured soak that is too short for a required ``memory.growth`` is refused with the number that it needs."""
    path = make_request().config.path
    text = path.read_text()
    start = text.index("soak")
    text = text[:start] + f"soak = {soak}\n" + text[text.index("\n", start) :]
    path.write_text(text.replace("[models.toy.limits]", f'[models.toy.limits]\nmemory_growth = "{limit}"'))
    if soak != "101":
        path.write_text(path.read_text().replace('"memory.peak"', '"memory.*"'))
    config = load(path)
    with pytest.raises(UserError, match=least) if least else nullcontext():
        check_soak(config, expand(config, target))


def test_the_check_after_a_crash_gets_a_new_worker(make_request: MakesRequests) -> None:
    """A crash fails only the check during which it happened."""
    request = make_request()
    with closing(Session.open(request)) as session:
        signature = row(request, "contract.signature")
        assert session.judge(signature).result.verdict is Verdict.PASSED
        with session.engines.lease("toy", "fp32") as worker:
            os.kill(worker.pid, signal.SIGKILL)
        died = session.judge(row(request, "parity.repeatable")).result
        assert (died.verdict, died.cause) == (Verdict.NOT_RUN, Cause.CRASHED)
        assert session.judge(row(request, "parity.repeatable")).result.verdict is Verdict.PASSED


def test_a_lost_worker_is_raised_once_to_a_users_test(make_request: MakesRequests) -> None:
    """``hil_engine.run`` raises ``WorkerLost`` once; the next call gets a new worker."""
    with closing(Session.open(make_request())) as session:
        engine = session.engine("toy", "fp32")
        feeds = next(iter(session.dataset("toy").batches(4))).inputs
        with session.engines.lease("toy", "fp32") as worker:
            os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            engine.run(feeds)
        assert engine.run(feeds)["scores"].shape == (4, 4)


def test_skipped_rows_state_the_reason(make_request: MakesRequests) -> None:
    """Under ``skip`` no row runs, and each gives the reason why the target is unavailable."""
    request = make_request("board", "skip")
    with closing(Session.open(request)) as session:
        for planned in expand(request.config, request.target).rows:
            result = session.judge(planned).result
            assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.FALLBACK)
            assert "on target 'board'" in result.reason


def test_a_foreign_engine_is_never_replaced_by_a_new_build(make_request: MakesRequests) -> None:
    """If the runtime cannot load the file of ``engine``, no engine built here is judged instead."""
    request = make_request()
    path = request.config.path
    path.write_text(path.read_text().replace('path = "toy.onnx"', 'path = "toy.onnx"\nengine = "toy.onnx"'))
    request = replace(request, config=load(path))
    with closing(Session.open(request)) as session:
        result = session.judge(row(request, "contract.signature")).result
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
    assert "built elsewhere" in result.reason


def test_declared_answers_are_compared_by_a_session(make_request: MakesRequests) -> None:
    """40 samples are inconclusive for the limit of changed answers; with no_disagreement_in they pass."""
    request = make_request()
    path = request.config.path
    text = f'{path.read_text()}\n[models.toy.outputs.scores]\nkind = "classification"\nscore = 0.0\n'
    few = "[models.toy.tolerances.fp32]\nno_disagreement_in = 20\n"
    for table, verdict in (("", Verdict.INCONCLUSIVE), (few, Verdict.PASSED)):
        path.write_text(text + table)
        with closing(Session.open(replace(request, config=load(path)))) as session:
            outcome = session.judge(row(request, "parity.outputs"))
        assert outcome.result.verdict is verdict, outcome.result.reason
        assert outcome.result.details["answers"][0]["changed"] == 0
        assert ("weaker_claim" in outcome.result.details) == bool(table)
        (method,) = outcome.methods.values()
        assert method["kinds"] == {"scores": {"kind": "classification", "score": 0.0}}
