"""Which series a check is judged by. The workers are stand-ins with fixed samples, because no engine is timed here."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.spec import MeasureSpec, RunSpec, TargetSpec
from hil.datasets.dataset import Batch
from hil.plan import Plan
from hil.results import Limit, Row, Sense
from hil.session.amendments import amended
from hil.session.gather import timing
from hil.session.memo import Memo
from hil.session.sampling.series_files import Samples
from hil.session.steps import Progress
from hil.targets.answers import NodeTime, Timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.results import Judgement
    from hil.session.gather.gathered import Gathered

LONG = "model.0.conv.weight + QuantizeLinear_8 + /model.0/conv/Conv + PWN(PWN(Sigmoid), Mul)" * 3


class Worker:
    """A stand-in for a worker, with 3000 inferences of 2 ms each; with several in flight, they start 1 ms apart."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []

    def _timed(self, step: float, streams: int) -> Timed:
        start = np.arange(3000, dtype=np.float64) * np.float64(step)
        device = np.full(3000, 0.001) if streams == 1 else None
        return Timed(start, np.full(3000, 0.002), 5, {"timed": "host-to-host", "streams": streams}, {}, device)

    def time(self, feeds: list[Any], **window: Any) -> Timed:
        """Return a single-stream series."""
        self.requests.append(("time", len(feeds)))
        assert "streams" not in window
        return self._timed(0.002, 1)

    def throughput(self, feeds: list[Any], *, streams: int, **window: Any) -> Timed:
        """Return a series of ``streams`` inferences in flight."""
        self.requests.append(("throughput", streams))
        assert window["seconds"] > 0
        assert feeds
        return self._timed(0.001, streams)

    def profile(self, feeds: Any, runs: int) -> list[NodeTime]:
        """Return two layers, the first without a type."""
        assert feeds is not None
        return [NodeTime(LONG, "", 0.003 * runs / runs), NodeTime("pool", "CudaPooling", 0.001)]


def session(folder: Path, worker: Worker, streams: int, runtime: str = "tensorrt") -> Any:
    """Return the part of a session that gathering needs."""

    @contextlib.contextmanager
    def lease(model: str, precision: str) -> Iterator[Worker]:
        assert (model, precision) == ("toy", "fp16")
        yield worker

    memo = Memo()
    memo.once(("control",), lambda: None)  # the stand-in's target has no control
    batches = [Batch(0, {"x": np.zeros((1, 4), np.float32)}, {})] * 3
    return SimpleNamespace(
        plan=Plan("bench", ()),
        runs=1,
        spec=TargetSpec(runtime=runtime),  # type: ignore[arg-type]  # one of the two runtimes, chosen by the test
        model=lambda _: SimpleNamespace(batch=1, run=RunSpec(streams=streams)),
        samples=Samples(folder, "run"),
        engines=SimpleNamespace(lease=lease, provisioned=lambda *_: None),
        memo=memo,
        state=SimpleNamespace(ready=lambda: None, loaded=contextlib.nullcontext, facts=dict),
        progress=Progress(lambda _: None),
        dataset=lambda _: SimpleNamespace(batches=lambda _: iter(batches)),
        config=SimpleNamespace(
            spec=SimpleNamespace(measure=MeasureSpec.model_validate({"duration": "1 s", "budget": "1 s"}))
        ),
    )


def row(check: str, limit: Limit | None = None) -> Row:
    """Return a row of the plan."""
    return Row(id=check, model="toy", precision="fp16", scenario="saturated", required=True, limit=limit)


def judgement(planned: Row, gathered: Gathered) -> Judgement:
    """Return the judgement as the report has it."""
    return amended(planned, gathered.judgement, gathered.facts)


def test_the_frame_rate_has_a_series_of_all_streams(tmp_path: Path) -> None:
    """A frame rate with several streams has its own series and method; latency stays single-stream."""
    worker = Worker()
    stand_in = session(tmp_path, worker, 2)
    rate = timing.rate(stand_in, row("fps.sustained"))
    assert worker.requests == [("throughput", 2)]
    assert rate.judgement.measurement is not None
    assert rate.judgement.measurement.value == pytest.approx(1000, rel=1e-3)
    assert rate.method["streams"] == 2
    assert str(judgement(row("fps.sustained"), rate).details["samples"]).endswith("toy-fp16-streams.npz")
    latency = timing.percentile(stand_in, row("latency.p50"))
    assert worker.requests[1:] == [("time", 3)]
    assert latency.method["streams"] == 1
    assert latency.judgement.details["device_p50"] == 0.001
    assert str(judgement(row("latency.p50"), latency).details["samples"]).endswith("toy-fp16-saturated.npz")


def test_a_step_of_less_than_a_second_shows_its_length(tmp_path: Path) -> None:
    """A series of half a second is not announced as one of 0 s."""
    lines: list[str] = []
    for streams in (1, 2):
        stand_in = session(tmp_path / str(streams), Worker(), streams)
        stand_in.progress = Progress(lines.append)
        half = MeasureSpec.model_validate({"duration": "500 ms", "budget": "500 ms"})
        stand_in.config = SimpleNamespace(spec=SimpleNamespace(measure=half))
        timing.rate(stand_in, row("fps.sustained"))
    shown = [line for line in lines if " for " in line]
    assert len(shown) == 2
    assert all("for 500 ms" in line for line in shown), shown


@pytest.mark.parametrize(("streams", "runtime"), [(1, "tensorrt"), (4, "onnxruntime")])
def test_one_stream_is_the_saturated_series(tmp_path: Path, streams: int, runtime: str) -> None:
    """With one stream, or a runtime without streams, latency and frame rate read the same samples."""
    worker = Worker()
    stand_in = session(tmp_path, worker, streams, runtime)
    rate, latency = timing.rate(stand_in, row("fps.sustained")), timing.percentile(stand_in, row("latency.p50"))
    assert [name for name, _ in worker.requests] == ["time"]
    assert rate.method == latency.method


def test_a_series_without_a_limit_has_fewer_samples() -> None:
    """The first window has 100 samples, and 688 if a percentile of this engine has a limit; no other limit counts."""
    limit = Limit(value=1.0, unit="s", sense=Sense.AT_MOST, source="test")
    rows = [row("latency.p99"), row("fps.sustained", limit)]
    assert timing.fewest_samples(rows, "toy", "fp16", 0.99) == 100
    assert timing.fewest_samples([*rows, row("latency.p50", limit)], "toy", "fp16", 0.99) == 688
    assert timing.fewest_samples([*rows, row("latency.p50", limit)], "toy", "fp32", 0.99) == 100


def test_slow_layers_are_named_within_120_characters(tmp_path: Path) -> None:
    """Long layer names are shortened in the reason and complete in the details, without empty brackets."""
    limit = Limit(value=0.001, unit="s", sense=Sense.AT_MOST, source="test")
    limited = row("latency.p50", limit)
    slow = judgement(limited, timing.percentile(session(tmp_path, Worker(), 1), limited))
    named = slow.reason.partition("slowest nodes: ")[2]
    assert "75%" in named
    assert "pool (CudaPooling) 25%" in named
    assert "()" not in named.replace("(PWN(", "").replace("Sigmoid)", "")
    assert len(named) < 120
    nodes: Any = slow.details["slowest_nodes"]
    assert nodes[0]["name"] == LONG
