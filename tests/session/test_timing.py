"""Which series a check is judged by; the workers only answer, since no engine is timed here."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.spec import MeasureSpec, RunSpec, TargetSpec
from hil.plan import Plan
from hil.results import Limit, Row, Sense
from hil.session.amendments import amended
from hil.session.gather import timing
from hil.session.memo import Memo
from hil.session.sampling.series_files import Samples
from hil.targets.answers import NodeTime, Timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.results import Judgement
    from hil.session.gather.gathered import Gathered

LONG = "model.0.conv.weight + QuantizeLinear_8 + /model.0/conv/Conv + PWN(PWN(Sigmoid), Mul)" * 3


class Worker:
    """Answers with 3000 inferences: 2 ms each, 1 ms apart where several are in flight."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def _timed(self, step: float, streams: int) -> Timed:
        start = np.arange(3000, dtype=np.float64) * np.float64(step)
        device = np.full(3000, 0.001) if streams == 1 else None
        return Timed(start, np.full(3000, 0.002), 5, {"timed": "host-to-host", "streams": streams}, {}, device)

    def time(self, feeds: list[Any], **window: Any) -> Timed:
        """One after the other."""
        self.asked.append(("time", len(feeds)))
        assert "streams" not in window
        return self._timed(0.002, 1)

    def throughput(self, feeds: list[Any], *, streams: int, **window: Any) -> Timed:
        """Several in flight."""
        self.asked.append(("throughput", streams))
        assert window["seconds"] > 0
        assert feeds
        return self._timed(0.001, streams)

    def profile(self, feeds: Any, runs: int) -> list[NodeTime]:
        """Two layers, one of which says no type."""
        assert feeds is not None
        return [NodeTime(LONG, "", 0.003 * runs / runs), NodeTime("pool", "CudaPooling", 0.001)]


def session(folder: Path, worker: Worker, streams: int, runtime: str = "tensorrt") -> Any:
    """As much of a session as gathering needs."""

    @contextlib.contextmanager
    def lease(model: str, precision: str) -> Iterator[Worker]:
        assert (model, precision) == ("toy", "fp16")
        yield worker

    batches = [SimpleNamespace(inputs={"x": np.zeros((1, 4), np.float32)})] * 3
    return SimpleNamespace(
        plan=Plan("bench", ()),
        runs=1,
        spec=TargetSpec(runtime=runtime),  # type: ignore[arg-type]  # one of the two, told by the test
        model=lambda _: SimpleNamespace(batch=1, run=RunSpec(streams=streams)),
        samples=Samples(folder, "run"),
        engines=SimpleNamespace(lease=lease),
        memo=Memo(),
        state=SimpleNamespace(ready=lambda: None, loaded=contextlib.nullcontext, facts=dict),
        progress=lambda _: None,
        dataset=lambda _: SimpleNamespace(batches=lambda _: iter(batches)),
        config=SimpleNamespace(
            spec=SimpleNamespace(measure=MeasureSpec.model_validate({"duration": "1 s", "budget": "1 s"}))
        ),
    )


def row(check: str, limit: Limit | None = None) -> Row:
    """A row of the plan."""
    return Row(id=check, model="toy", precision="fp16", scenario="saturated", required=True, limit=limit)


def judgement(asked: Row, gathered: Gathered) -> Judgement:
    """The judgement as the report has it."""
    return amended(asked, gathered.judgement, gathered.facts)


def test_the_frame_rate_is_that_of_all_streams(tmp_path: Path) -> None:
    """A series of its own, by a method of its own; latency stays single-stream and never reads it."""
    worker = Worker()
    held = session(tmp_path, worker, 2)
    rate = timing.rate(held, row("fps.sustained"))
    assert worker.asked == [("throughput", 2)]
    assert rate.judgement.measurement is not None
    assert rate.judgement.measurement.value == pytest.approx(1000, rel=1e-3)
    assert rate.method["streams"] == 2
    assert str(judgement(row("fps.sustained"), rate).details["samples"]).endswith("toy-fp16-streams.npz")
    latency = timing.percentile(held, row("latency.p50"))
    assert worker.asked[1:] == [("time", 3)]
    assert latency.method["streams"] == 1
    assert latency.judgement.details["device_p50"] == 0.001
    assert str(judgement(row("latency.p50"), latency).details["samples"]).endswith("toy-fp16-saturated.npz")


@pytest.mark.parametrize(("streams", "runtime"), [(1, "tensorrt"), (4, "onnxruntime")])
def test_one_stream_is_the_saturated_series(tmp_path: Path, streams: int, runtime: str) -> None:
    """The same samples serve latency and rate; a runtime without streams has one whatever the config says."""
    worker = Worker()
    held = session(tmp_path, worker, streams, runtime)
    rate, latency = timing.rate(held, row("fps.sustained")), timing.percentile(held, row("latency.p50"))
    assert [name for name, _ in worker.asked] == ["time"]
    assert rate.method == latency.method


def test_slow_layers_are_named_on_part_of_a_line(tmp_path: Path) -> None:
    """TensorRT's names may fill a page: shortened in the reason, whole in the details; no empty brackets."""
    limit = Limit(value=0.001, unit="s", sense=Sense.AT_MOST, source="test")
    asked = row("latency.p50", limit)
    slow = judgement(asked, timing.percentile(session(tmp_path, Worker(), 1), asked))
    told = slow.reason.partition("slowest nodes: ")[2]
    assert "75%" in told
    assert "pool (CudaPooling) 25%" in told
    assert "()" not in told.replace("(PWN(", "").replace("Sigmoid)", "")
    assert len(told) < 120
    nodes: Any = slow.details["slowest_nodes"]
    assert nodes[0]["name"] == LONG
