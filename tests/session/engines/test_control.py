from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import onnx
import pytest

from hil.config.load import load
from hil.config.spec import TargetSpec
from hil.errors import Unsupported
from hil.plan import expand
from hil.session import Session
from hil.session.engines.control import BUILD_LIMIT, control
from hil.session.engines.control_network import ON_CPU, ON_GPU, network
from hil.session.memo import Memo
from hil.session.steps import Progress
from hil.targets.client import AgentClient

if TYPE_CHECKING:
    from pathlib import Path

    from hil.session import Request
    from tests.session.conftest import MakesRequests


def longer(request: Request) -> Request:
    """Return the request with series that are long enough for a control."""
    path = request.config.path
    path.write_text(path.read_text().replace('duration = "0.5 s"', 'duration = "2 s"'))
    return replace(request, config=load(path))


@pytest.mark.parametrize("workload", [ON_CPU, ON_GPU])
def test_the_network_is_the_same_in_every_session(workload: Any) -> None:
    """The bytes of the file do not change, and it is a valid network with one fixed input."""
    content = network(workload)
    assert content == network(workload)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        workload.channels,
        workload.side,
        workload.side,
    ]


def test_a_timed_row_has_a_control(make_request: MakesRequests) -> None:
    """The measurement of a latency has the summary of its control; its environment does not."""
    request = longer(make_request())
    with closing(Session.open(request)) as session:
        outcome = session.judge(expand(request.config, request.target).of("latency.p99")[0])
    measurement = outcome.result.measurement
    assert measurement is not None
    assert measurement.control is not None
    assert measurement.control.workload == ON_CPU.name
    assert outcome.methods[measurement.method]["control"]["workload"] == ON_CPU.name
    assert "control" not in outcome.environments[measurement.environment]


def test_a_gpu_has_a_larger_network_on_the_same_device() -> None:
    """The control of TensorRT is built once for a session, on the target's GPU and with its binding."""
    orders: list[Any] = []
    uploads: list[bytes] = []

    def build(*order: Any, **_how: Any) -> Any:
        orders.append(order)
        return SimpleNamespace(key="k" * 64)

    def put_blob(path: Path) -> str:
        uploads.append(path.read_bytes())
        return "d" * 64

    session: Any = SimpleNamespace(
        spec=TargetSpec(runtime="tensorrt", gpu=1, cuda="ctypes"),
        used="gpu",
        member="",
        memo=Memo(),
        progress=Progress(lambda _: None),
        agent=SimpleNamespace(build=build, put_blob=put_blob),
    )
    order = control(session)
    assert control(session) is order
    assert order is not None
    assert order.options == {"gpu": 1, "cuda": "ctypes", "streams": 1, "cuda_graph": False}
    assert order.workload == ON_GPU.name
    assert uploads == [network(ON_GPU)]
    assert orders == [("d" * 64, "fp32", "tensorrt", {"gpu": 1}, BUILD_LIMIT)]


def test_a_runtime_without_a_control_fails_no_row(
    make_request: MakesRequests, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the control cannot be built, the row is judged without it, and the reason is reported once."""
    real = AgentClient.build

    def build(self: AgentClient, digest: str, precision: str, runtime: str, *rest: Any, **more: Any) -> Any:
        if digest == hashlib.sha256(network(ON_CPU)).hexdigest():
            refuse()
        return real(self, digest, precision, runtime, *rest, **more)

    def refuse() -> NoReturn:
        raise Unsupported("this runtime runs one model only")

    monkeypatch.setattr(AgentClient, "build", build)
    request = make_request()
    with closing(Session.open(request)) as session:
        for check in ("latency.p50", "latency.p99"):
            outcome = session.judge(expand(request.config, request.target).of(check)[0])
            assert outcome.result.measurement is not None
            assert outcome.result.measurement.control is None
            assert "control" not in outcome.methods[outcome.result.measurement.method]
    assert sum("this runtime runs one model only" in message for message in messages) == 1
